#!/usr/bin/env bash
# The whole grid, then every figure. Finished runs are skipped, cut ones go on.
#
#     bash run_all.sh [quick|fc|conv|all]           JOBS=n runs n at a time
#     bash run_all.sh list [quick|fc|conv|all]      its commands, one a line, for GNU parallel
#     sbatch --array=1-N run_all.sh [fc|...]        a Slurm array: task i runs line i
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "$0")}"  # sbatch runs a copy of this file from elsewhere
PYTHON=${PYTHON:-python}
SCHEMES="xavier_normal xavier_uniform kaiming_normal kaiming_uniform"
cores=$(nproc)

groups() {  # schemes | seeds | command
    case $1 in
        quick) tour="--data glyphs --preset quick"
               echo "$SCHEMES|0 1|prune.py --net fc $tour"
               pair="xavier_normal kaiming_normal"
               echo "$pair|0|prune.py --net conv2 $tour --steps 40 --levels 1" ;;
        fc)    echo "$SCHEMES|$(seq -s ' ' 0 19)|prune.py --net fc" ;;
        conv)  echo "$SCHEMES|$(seq -s ' ' 0 7)|prune.py --net conv2"
               echo "$SCHEMES|$(seq -s ' ' 0 7)|prune.py --net conv" ;;
        all)   groups fc; groups conv ;;
        *)     echo "run_all.sh: no grid $1; there are quick, fc, conv, all" >&2; return 2 ;;
    esac
}

list() {
    groups "$1" | while IFS='|' read -r schemes seeds command; do
        for seed in $seeds; do for scheme in $schemes; do
            echo "$PYTHON $command --init $scheme --seed $seed"
        done; done
    done
}

todo() {
    groups "$1" | while IFS='|' read -r schemes seeds command; do
        $PYTHON $command --init $schemes --seed $seeds --todo | sed "s|^|$PYTHON $command |"
    done
}

if [ "${1:-}" = list ]; then list "${2:-all}"; exit; fi
grid=${1:-all}
if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
    line=$(list "$grid" | sed -n "${SLURM_ARRAY_TASK_ID}p")
    [ -n "$line" ] || { echo "run_all.sh: the grid $grid has no line $SLURM_ARRAY_TASK_ID" >&2; exit 2; }
    exec $line
fi

JOBS=${JOBS:-$cores}
export OMP_NUM_THREADS=$(( cores / JOBS > 0 ? cores / JOBS : 1 ))
all=$(list "$grid" | wc -l)
lines=$(todo "$grid" 2> /dev/null)
left=$(printf '%s' "$lines" | grep -c . || true)
echo "grid $grid: $((all - left)) of $all runs are finished, $left to do, $JOBS at a time"
failed=0
# BAR: each process draws its progress bar on a line of its own
printf '%s' "$lines" |
    xargs -r -d '\n' -P "$JOBS" --process-slot-var=BAR -I{} sh -c '{} || exit 1' || failed=1
$PYTHON plot.py
exit $failed
