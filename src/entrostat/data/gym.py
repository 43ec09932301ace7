"""Problems of reasoning-gym (arXiv 2505.24760), made from a seed without the hub."""

import importlib.util
import json
from collections.abc import Iterator
from typing import Any

from entrostat.data.columns import Item
from entrostat.texts import did_you_mean
from entrostat.verify.gym import SIZE

PREFIX = "gym:"
TASKS: tuple[str, ...] = tuple(
    """
    ab advanced_geometry aiw arc_1d base_conversion basic_arithmetic binary_alternation
    bitwise_arithmetic caesar_cipher chain_sum circuit_logic color_cube_rotation
    count_bits count_primes course_schedule cryptarithm decimal_arithmetic
    decimal_chain_sum dice emoji_mystery family_relationships figlet_font
    fraction_simplification gcd gsm_symbolic isomorphic_strings jugs kakurasu
    knights_knaves largest_island lcm leg_counting letter_counting letter_jumble
    list_functions mahjong_puzzle manipulate_matrix maze mini_sudoku modulo_grid
    needle_haystack number_filtering number_format number_sequence number_sorting
    palindrome_generation palindrome_partitioning path_star polynomial_equations
    pool_matrix power_function products quantum_lock ransom_note rearc rotate_matrix
    rotten_oranges self_reference sentence_reordering shortest_path simple_equations
    simple_geometry spell_backward string_manipulation string_splitting string_synthesis
    sudoku survo syllogism tower_of_hanoi tsumego word_sequence_reversal word_sorting
    """.split()  # noqa: SIM905
)
"""Tasks whose scorer can be trusted with what a model wrote, of version 0.1.25
(docs/data.md says which are not)."""


def parse_tasks(dataset: str) -> list[str]:
    """The tasks of "gym:TASK[,TASK...]".

    Raises:
        ValueError: one that is not there or not allowed, one that is there twice, or no
            reasoning-gym.
    """
    names = dataset.removeprefix(PREFIX).split(",")
    for name in names:
        if name not in TASKS:
            raise ValueError(
                f"--dataset has no task {name!r} of reasoning-gym that its scorer "
                f"judges safely: {did_you_mean(name, TASKS)}docs/data.md lists them"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"--dataset {dataset} names a task twice")
    if importlib.util.find_spec("reasoning_gym") is None:
        raise ValueError(
            f"--dataset {dataset} needs reasoning-gym: pip install 'entrostat[gym]'"
        )
    return names


def gym_items(tasks: list[str], seed: int) -> Iterator[Item]:
    """Problems of one task after the other, in turn, the same for the same seed: `SIZE`
    of each, which no run uses up."""
    import reasoning_gym

    problems_of: dict[str, Any] = {}
    for task in tasks:
        problems_of[task] = reasoning_gym.create_dataset(task, size=SIZE, seed=seed)
    for number in range(SIZE):
        for task, problems in problems_of.items():
            question = str(problems[number]["question"]).strip()
            # what its verifier makes the problem again from
            yield Item(question, json.dumps([task, seed, number]))
