#!/usr/bin/env bash
# A grid of runs, then every figure. Finished runs are skipped, interrupted ones resume; Ctrl-C stops all.
#
#     bash run_all.sh [GRID]                        JOBS=n runs n at a time
#     bash run_all.sh list [GRID]                   its commands, one a line, for GNU parallel
#     sbatch --array=1-N run_all.sh [GRID]          a Slurm array: task i runs line i
#     bash run_all.sh report                        the report, its figures and slides, from results/
#
# GRID: quick, a tour in minutes; core (the default), the question itself in an evening; gpu, conv nets for
# a machine with one; study, all of these parts of report/PROTOCOL.md: fc, conv, controls, screen, rates,
# confirm, lit, carry, before, why, rounds, fashion, half, conv-confirm, conv6.
# controls and why read runs of screen and carry.
set -euo pipefail
if [ "${BASH_VERSINFO[0]}" -lt 5 ] || ! command -v flock > /dev/null; then
    echo "run_all.sh: it needs bash 5 and flock: on macOS, brew install bash findutils coreutils flock;" \
        "prune.py and plot.py need neither" >&2; exit 2
fi
shopt -s inherit_errexit  # what fails within $(...) fails here too
cd "$(dirname "$0")"
[ -e prune.py ] || cd "${SLURM_SUBMIT_DIR:-.}"  # sbatch runs a copy of this file from elsewhere
PYTHON=${PYTHON:-python}
SCHEMES="xavier_normal xavier_uniform kaiming_normal kaiming_uniform"
cores=$(env -u OMP_NUM_THREADS nproc)

# Halves: 50, 25, ... 0.2% of the weights in nine rounds. Doubles: two of the rounds of the paper in one.
HALVES="--rate-fc 0.5 --rate-out 0.28 --levels 9"
DOUBLE="--rate-conv 0.19 --rate-fc 0.36 --rate-out 0.19"
CUSTOM="shape_sign shape_arcsine shape_uniform shape_trunc2 shape_normal shape_laplace shape_t4 orthogonal
        sparse_50 sparse_90 truncated_glorot torch_default layer_balanced input_aware input_aware_all
        asymmetric_25 asymmetric_50 xavier_normal_lit xavier_uniform_lit xavier_normal@0.1 xavier_normal@0.25
        xavier_normal@0.5 xavier_normal@2 xavier_normal@4"
CANDIDATES="shape_sign truncated_glorot"   # the best of CUSTOM in the screen, by validation
HEAVY=shape_t4                             # of the heavy-tailed ones the best at initialization, likewise
EXPLORE="0 1 2 3 4"            # seeds to look at and choose by
CONFIRM=$(seq -s ' ' 10 29)    # seeds that the schemes are compared on
FRESH=$(seq -s ' ' 10 19)      # the first ten of these, where ten do
LATER=$(seq -s ' ' 30 49)      # seeds that have not been looked at when the others have
STUDY="fc screen rates confirm lit carry controls before why rounds fashion conv half conv-confirm conv6"

halved() { echo "mnist-fc-$1-${2:-magnitude}-ratefc0.5-rateout0.28-s{seed}"; }  # a run of screen or carry

groups() {  # schemes | seeds | command
    local fc="prune.py --net fc" halves="prune.py --net fc $HALVES"
    local conv2="prune.py --net conv2 --epochs 2 --precision fp32 $DOUBLE --levels 8"
    case $1 in
        quick) tour="--data glyphs --preset quick"
               echo "$SCHEMES|0 1|$fc $tour --rate-fc 0.5 --rate-out 0.28 --levels 6"
               pair="xavier_normal kaiming_normal"
               echo "$pair|0|prune.py --net conv2 $tour --steps 300 --batch 20 --lr 5e-4 --looks 1" \
                   "--rate-conv 0.4 --rate-fc 0.7 --rate-out 0.4 --levels 2" ;;
        core)  echo "$SCHEMES|$EXPLORE|$fc"
               echo "$SCHEMES|0 1 2|prune.py --net conv2 --epochs 2 $DOUBLE --levels 8" ;;
        fc)    echo "$SCHEMES|$CONFIRM|$fc --levels 28" ;;
        conv)  for schemes in "$SCHEMES" "$CANDIDATES"; do echo "$schemes|10 11 12|$conv2"; done ;;
        half)  echo "xavier_normal@0.5|10 11 12|$conv2" ;;
        conv-confirm) echo "$SCHEMES shape_sign|$(seq -s ' ' 31 38)|prune.py --net conv2 --epochs 2" \
                   "--precision bf16 $DOUBLE --levels 10" ;;
        conv6) echo "$SCHEMES|31 32 33|prune.py --net conv --epochs 2 --precision bf16" \
                   "--rate-conv 0.2775 --rate-fc 0.36 --rate-out 0.19 --levels 8" ;;
        gpu)   for net in conv2 conv; do
                   echo "$SCHEMES $CANDIDATES|$(seq -s ' ' 10 17)|prune.py --net $net --device cuda" \
                       "--precision bf16"
               done ;;
        controls)
               echo "xavier_normal|$EXPLORE|$fc --levels 15 --one-shot"
               for control in reinit shuffle random_mask; do
                   echo "xavier_normal|$EXPLORE|$fc --levels 15 --control $control"
               done
               for pruner in snip synflow; do for control in reinit shuffle; do
                   echo "xavier_normal|$EXPLORE|$halves --pruner $pruner --scope global --control $control"
               done; done ;;
        rounds) for scope in layer global; do
                   echo "xavier_normal|$FRESH|$halves --scope $scope"
               done ;;
        screen) echo "xavier_normal|$EXPLORE|$fc --levels 15"
                echo $SCHEMES $CUSTOM"|$EXPLORE|$halves" ;;
        rates) for lr in 4e-4 3.6e-3; do echo "$SCHEMES $CANDIDATES|$EXPLORE|$halves --lr $lr"; done ;;
        confirm) echo "$CANDIDATES|$CONFIRM|$fc --levels 28" ;;
        lit)   for scheme in xavier_normal kaiming_normal; do
                   echo "$scheme ${scheme}_lit|$LATER|$fc --levels 28"
               done ;;
        carry) for pruner in random movement filters snip; do
                   echo "$SCHEMES $CANDIDATES|$EXPLORE|$halves --pruner $pruner"
               done
               for pruner in magnitude snip grasp synflow; do
                   echo "$SCHEMES $CANDIDATES|$EXPLORE|$halves --pruner $pruner --scope global"
               done
               echo "$SCHEMES $CANDIDATES|$EXPLORE|$halves --one-shot"
               for pruner in snip synflow; do
                   echo "shape_laplace shape_t4|$EXPLORE|$halves --pruner $pruner --scope global"
               done ;;
        before) for pruner in snip synflow; do
                   echo "xavier_normal xavier_uniform $HEAVY|$FRESH|$halves --pruner $pruner --scope global"
               done ;;
        why)   for rewind in signs rescaled; do echo "$SCHEMES|$EXPLORE|$halves --rewind $rewind"; done
               echo "$SCHEMES input_aware|$EXPLORE|$halves --input unit"
               echo "$SCHEMES|$EXPLORE|$halves --epochs 12"
               gains="xavier_normal@0.25 xavier_normal@0.5 xavier_normal@2 xavier_normal@4"
               echo "$gains shape_laplace shape_t4|$EXPLORE|$halves --pruner movement"
               for other in xavier_uniform kaiming_normal xavier_normal@4; do
                   echo "$other|$EXPLORE|$halves --masks-from $(halved xavier_normal)"
                   echo "xavier_normal|$EXPLORE|$halves --masks-from $(halved $other)"
               done
               for how in snip-global synflow-global; do
                   echo "xavier_uniform|$EXPLORE|$halves --masks-from $(halved xavier_normal $how)"
                   echo "xavier_normal|$EXPLORE|$halves --masks-from $(halved xavier_uniform $how)"
               done ;;
        fashion) echo "$SCHEMES $CANDIDATES|$FRESH|$halves --data fashion_mnist" ;;
        study) for grid in $STUDY; do groups $grid; done ;;
        *)     echo "run_all.sh: no grid $1; there are quick, core, gpu, study and its parts, $STUDY" >&2
               return 2 ;;
    esac
}

list() {
    groups "$1" | while IFS='|' read -r schemes seeds command; do
        for seed in $seeds; do for scheme in $schemes; do
            echo "env OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1} $PYTHON $command --init $scheme --seed $seed"
        done; done
    done
}

todo() {  # lines of: about how many seconds, the command
    groups "$1" | while IFS='|' read -r schemes seeds command; do
        $PYTHON $command --init $schemes --seed $seeds --todo | while read -r seconds which; do
            echo "$seconds $PYTHON $command $which"
        done
    done
}

hours() {  # seconds as a person says them
    awk -v s="$1" 'BEGIN { if (s < 5400) printf "%d min", (s + 59) / 60; else printf "%.1f h", s / 3600 }'
}

run_one() {  # about how many seconds, a command: runs it and says how far the grid is
    local seconds=$1 started=$EPOCHSECONDS code=0 done_runs seconds_left line devices=($gpus); shift
    [ -z "$gpus" ] || export CUDA_VISIBLE_DEVICES=${devices[RUN_ALL_SLOT % ${#devices[@]}]}
    "$@" || code=$?
    [ $code -ne 75 ] || return 0  # the run is in another process's hands
    [ $code -eq 0 ] || return 1
    (
        flock 9  # so that each counts itself and those before
        echo "$seconds $((EPOCHSECONDS - started))" >> "$tally"
        read -r done_runs seconds_left < <(
            awk -v total="$total" -v jobs="$JOBS" -v past=$((EPOCHSECONDS - begun)) '
                { expected += $1; took += $2 }
                END { s = (expected ? total * took / expected / jobs : 0) - past; print NR, (s > 0 ? s : 0) }
            ' "$tally")
        line="grid $grid: $done_runs of $left runs are done, about $(hours "$seconds_left") left"
        [ ! -t 2 ] || line=$'\r\e[K'$line  # over the progress bar of this line
        echo "$line" >&2
    ) 9>> "$tally"
}

end_with() {  # an exit code: at once, or when the runs have saved what they have
    stopped=$1
    [ -n "$runs" ] || exit "$stopped"
    kill -TERM -- "-$runs" 2> /dev/null || true
}

in_group() {  # a command as a process group of its own, which a signal to this script stops as a whole
    local code=0
    set -m; "$@" & runs=$!; set +m
    wait $runs || code=$?
    while ps -e -o pgid=,stat= | awk -v g=$runs '$1 == g && $2 !~ /^Z/ { f = 1 } END { exit !f }'; do
        sleep 0.1
    done
    runs=
    [ -z "$stopped" ] || exit "$stopped"
    return $code
}

if [ $# -gt 1 ] && { [ "$1" != list ] || [ $# -gt 2 ]; }; then
    echo "run_all.sh: one grid at a time" >&2; exit 2
fi
has_torch='import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)'
if [ "${1:-}" != list ] && ! $PYTHON -c "$has_torch" &> /dev/null; then
    echo "run_all.sh: $PYTHON has no torch: activate the environment that pip install -r requirements.txt" \
        "filled, or name its interpreter, PYTHON=venv/bin/python bash run_all.sh" >&2; exit 2
fi
if [ "${1:-}" = report ]; then
    if ! $PYTHON -c "import jinja2, pptx, scipy" 2> /dev/null; then
        echo "run_all.sh: the report needs more packages: pip install -r report/requirements.txt" >&2; exit 2
    fi
    $PYTHON report/figures.py
    $PYTHON report/slide_figures.py
    exec $PYTHON report/build.py
fi
if [ "${1:-}" = list ]; then list "${2:-core}"; exit; fi
grid=${1:-core}
if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
    line=$(list "$grid" | sed -n "${SLURM_ARRAY_TASK_ID}p")
    [ -n "$line" ] || { echo "run_all.sh: the grid $grid has no line $SLURM_ARRAY_TASK_ID" >&2; exit 2; }
    exec $line
fi

JOBS=${JOBS:-}
if ! [[ $JOBS =~ ^([1-9][0-9]{0,3})?$ ]]; then
    echo "run_all.sh: JOBS is how many runs go side by side, a whole number from 1, and not $JOBS" >&2; exit 2
fi
runs= stopped=
trap "end_with 129" HUP
trap "end_with 130" INT
trap "end_with 143" TERM
all=$(list "$grid")
gpus=  # those that a grid with conv nets may use, four runs on each
if grep -q "net conv" <<< "$all"; then
    number=$($PYTHON -c "import torch; print(torch.cuda.device_count())")
    numbers=${CUDA_VISIBLE_DEVICES:-$(seq -s, 0 64)}
    [ "$number" = 0 ] || gpus=$(cut -d, -f "1-$number" <<< "$numbers" | tr , ' ')
fi
at_most=$(( 4 * $(wc -w <<< "$gpus") ))
JOBS=${JOBS:-$(( at_most > 0 && at_most < cores ? at_most : cores ))}
export OMP_NUM_THREADS=$(( cores / JOBS > 0 ? cores / JOBS : 1 ))
count=$(wc -l <<< "$all")
echo "grid $grid: $count runs; looking which are finished, and how fast this machine is"
lines=$(todo "$grid" 2> >(sed '/ is finished$/d' >&2))
left=$(printf '%s' "$lines" | grep -c . || true)
total=$(awk '{ sum += $1 } END { print sum + 0 }' <<< "$lines")
echo "grid $grid: $((count - left)) of $count runs are finished, $left to do, $JOBS at a time:" \
    "about $(hours $((total / (JOBS < left ? JOBS : left > 0 ? left : 1))))"

failed=0
if [ "$left" -gt 0 ]; then
    tally=$(mktemp)  # of every run that is done: the seconds expected, and taken
    begun=$EPOCHSECONDS
    export grid left total begun tally gpus JOBS
    export -f run_one hours
    # SLOT: each process draws its progress bar on a line of its own
    in_group xargs -d '\n' -P "$JOBS" --process-slot-var=RUN_ALL_SLOT -I{} bash -c 'run_one {}' \
        <<< "$lines" || failed=1
    rm "$tally"
fi
if grep -qs '"kept"' runs/*/metrics.json; then  # no level is there while others do every first one
    in_group flock runs/lock $PYTHON plot.py  # the last of several grids to draw has them all
fi
exit $failed
