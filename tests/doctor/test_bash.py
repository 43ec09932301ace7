"""What is read of a bash script is what bash itself would run: bash is the reference, its commands stubs that print."""

import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrostat.doctor.bash import read_bash
from entrostat.doctor.bash_words import MAX_LENGTH

STUB = r"""
for name in python3 python accelerate trl swift ray srun nohup torchrun; do
    eval "$name() { printf '%s\\0' $name \"\$@\"; printf '\\1'; }"
done
"""


def by_bash(script, *arguments):
    """The commands that bash runs, each as its words."""
    done = subprocess.run(
        ["bash", "-c", STUB + script, "run.sh", *arguments],
        capture_output=True,
        env={"PATH": os.environ["PATH"]},
        check=False,
    )
    commands = done.stdout.decode().split("\1")[:-1]
    return [command.split("\0")[:-1] for command in commands]


def by_reader(script):
    return [[word.text for word in command.words] for command in read_bash(script).commands]


FORMS = {
    "variables and continued lines": """
        set -x
        project='DAPO'
        clip_ratio_low=0.2
        clip_ratio_high=0.28
        max_prompt_length=$((1024 * 2))
        max_response_length=$((1024 * 8))
        python3 -m verl.trainer.main_ppo \\
            actor_rollout_ref.actor.clip_ratio_low=${clip_ratio_low} \\
            actor_rollout_ref.actor.clip_ratio_high="${clip_ratio_high}" \\
            actor_rollout_ref.actor.ppo_max_token_len_per_gpu=$(((max_prompt_length + max_response_length) * 2)) \\
            trainer.logger='["console","wandb"]' \\
            trainer.project_name="${project}-run" $@
        """,
    "defaults from outside": """
        LR=${LR:-1e-6}
        N=${N:-"8"}
        export BATCH=${BATCH:-$((N * 64))}
        : ${EPOCHS:=3}
        python3 -m verl.trainer.main_ppo data.train_batch_size=$BATCH actor_rollout_ref.actor.optim.lr=${LR} x=${EPOCHS}
        """,
    "arrays": """
        DATA=(
            data.train_batch_size=512  # a comment
            data.max_prompt_length=1024
        )
        ACTOR=(actor_rollout_ref.actor.ppo_mini_batch_size=128 "a.b=two words")
        ACTOR+=(actor_rollout_ref.actor.ppo_epochs=2)
        python3 -m verl.trainer.main_ppo "${DATA[@]}" "${ACTOR[@]}" first="${DATA[0]}"
        """,
    "a variable of several words": """
        COMMON="data.train_batch_size=64 actor_rollout_ref.rollout.n=5"
        COMMON+=" algorithm.adv_estimator=grpo"
        python3 -m verl.trainer.main_ppo $COMMON "quoted=$COMMON"
        """,
    "branches that can be decided": """
        ENGINE=fsdp2
        if [ "$ENGINE" = "megatron" ]; then
            ARGS="--config-name=ppo_megatron_trainer"
        elif [[ $ENGINE == fsdp2 ]]; then
            ARGS="actor_rollout_ref.actor.strategy=fsdp2"
        else
            ARGS=""
        fi
        [ -z "$MISSING" ] && EXTRA=1
        [[ -n "$ENGINE" ]] || EXTRA=2
        if [ 3 -gt 2 ]; then MORE=yes; fi
        python3 -m verl.trainer.main_ppo $ARGS extra=$EXTRA more=$MORE
        """,
    "a function with arguments": """
        run() {
            local lr=$1
            python3 -m verl.trainer.main_ppo actor_rollout_ref.actor.optim.lr=$lr data.train_batch_size=$2 "$@"
        }
        run 1e-6 256
        """,
    "launchers": """
        NPROC_PER_NODE=4 CUDA_VISIBLE_DEVICES=0,1 swift rlhf --rlhf_type grpo --num_generations 8
        accelerate launch --config_file zero3.yaml --num_processes=7 src/open_r1/grpo.py --config grpo.yaml | cat
        ray job submit --working-dir . -- python3 -m verl.trainer.main_ppo actor_rollout_ref.rollout.n=8
        """,
    "cut and changed variables": """
        MODEL=Qwen/Qwen2.5-7B
        FILE=run.sh
        python3 train.py name=${MODEL##*/} stem=${FILE%.sh} upper=${MODEL^^} "kept=" ''
        """,
    "quotes": """
        x=5
        python3 -m a "a\\"b" 'c"$x' $'d' e"f $x"g \\$x "h\\$x" 'it'"'"'s'
        """,
    "a for loop of one": """
        for seed in 7; do
            python3 train.py --seed $seed
        done
        """,
    "another script in a string": """
        n=4
        bash -c "python3 train.py --num_generations $n"
        CMD="python3 train.py --lr 1e-6"
        eval "$CMD"
        """,
}


@pytest.mark.parametrize("name", FORMS)
def test_what_is_read_is_what_bash_runs(name):
    if name == "another script in a string":  # bash -c starts a bash without the stubs
        assert by_reader(FORMS[name]) == [
            ["python3", "train.py", "--num_generations", "4"],
            ["python3", "train.py", "--lr", "1e-6"],
        ]
        return
    expected = by_bash(FORMS[name])
    read = [command for command in by_reader(FORMS[name]) if command[0] not in ("cat", ":", "local")]
    assert expected
    assert read == expected


WORDS = st.text(st.sampled_from("ab1.= _-/"), max_size=12)


USES = st.sampled_from(["$A", '"$A"', "${B}", "'$A'", '"x${B}y"'])


@given(st.lists(WORDS, min_size=2, max_size=2), st.lists(USES, max_size=4))
def test_values_are_split_as_bash_splits_them(values, uses):
    script = "".join(f"{name}='{value}'\n" for name, value in zip("AB", values, strict=True))
    script += " ".join(["python3", "-m", "x", *uses]) + "\n"
    assert by_reader(script) == by_bash(script)


def word(script):
    return read_bash(script).commands[-1].words[-1]


@pytest.mark.parametrize(
    ("script", "text", "name"),
    [
        ("python3 lr=$LR", "lr=${LR}", "LR"),
        ("X=$(nproc)\npython3 n=$X", "n=$(nproc)", "$(nproc)"),
        ('if [ "$A" = b ]; then X=1; else X=2; fi\npython3 x=$X', "x=${X}", "X"),
        ("if grep -q a b; then X=1; fi\npython3 x=$X", "x=${X}", "X"),
        ("X=0\ncase $A in a) X=1;; b) X=2;; esac\npython3 x=$X", "x=${X}", "X"),
        ("python3 x=$((N * 2))", "x=${N * 2}", "N * 2"),
        ("read X\npython3 x=$X", "x=${X}", "X"),
        ("python3 x=${!X}", "x=${!X}", "${!X}"),
    ],
)
def test_what_only_the_machine_knows_stays_open(script, text, name):
    found = word(script)
    assert found.text == text and found.open == (name,)


def test_branches_that_agree_leave_nothing_open():
    assert word("if make; then X=1; else X=1; fi\npython3 x=$X").text == "x=1"


def test_what_was_not_followed_is_said():
    script = read_bash("source env.sh\nfor s in 1 2 3; do python3 train.py --seed $s; done")
    assert script.notes == [
        "line 1 reads another script, which was not read: env.sh",
        "line 2 loops over 3 values of s: the first one was read",
    ]
    assert script.commands[-1].words[-1].text == "1"


@pytest.mark.parametrize(
    "script",
    [
        "X=a\n" + 'X="$X$X"\n' * 40 + "python3 $X",
        "f() { f; f; }\nf",
        "for a in 1; do " * 300 + "python3 x; " + "done; " * 300,
    ],
)
def test_a_script_without_end_ends(script):
    try:
        commands = read_bash(script).commands
    except ValueError as error:
        assert "KEY=VALUE" in str(error) and "\n" not in str(error)
    else:
        assert all(len(word.text) <= MAX_LENGTH for command in commands for word in command.words)


@given(st.text(st.sampled_from("ab $\"'`(){}[]=|&;<>\\\n#!-:*"), max_size=60))
def test_any_text_is_read_or_refused_in_one_line(text):
    try:
        read_bash(text)
    except ValueError as error:
        assert "\n" not in str(error)


def test_nothing_is_executed(tmp_path):
    mark = tmp_path / "mark"
    read_bash(f"touch {mark}\nX=$(touch {mark})\neval 'touch {mark}'\npython3 `touch {mark}`")
    assert not mark.exists()


def test_a_value_with_an_unknown_part_is_split_at_its_own_blanks():
    script = read_bash('A="x=$(pick a b) y=1\n z=$OUTSIDE"\nrun $A "$A"\n')
    (command,) = script.commands
    assert [word.text for word in command.words[:4]] == ["run", "x=$(pick a b)", "y=1", "z=${OUTSIDE}"]
    assert [word.open for word in command.words[1:4]] == [("$(pick a b)",), (), ("OUTSIDE",)]
    assert len(command.words) == 5
