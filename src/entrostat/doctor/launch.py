"""What a bash script trains: the trainer, its settings, and what could not be read.

    python3 -m verl.trainer.main_ppo KEY=VALUE...      verl, whatever its entry is called
    accelerate launch train.py --config X --flag V     TRL's script arguments
    trl grpo --flag V                                  the same fields

and the trainers of doctor/others.py, each by what its command line alone has.

Launchers in front of these (nohup, srun, torchrun, ray job submit) are passed over.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from entrostat.doctor.bash import Command, Script, Word
from entrostat.doctor.others_settings import flag_name

UNREAD: Mapping[str, str] = {"areal": "AReaL", "nemo_rl": "NeMo RL"}
"""Trainers that are known by a part of their entry's name, and not read."""
VERL_SETTING = re.compile(r"[+~]*actor_rollout_ref\.[\w.]+=")
"""What only a command line of verl, or of a fork of it, has."""
VERL_ENTRY = re.compile(r"verl\.[\w.]+\.(main_ppo\w*|fully_async_main)")
"""Modules of verl's that train by a reward."""
SKYRL_SETTING = re.compile(
    r"[+~]*(trainer\.(algorithm|policy|placement)\.|generator\.)[\w.]+="
)
EASYR1_SETTING = re.compile(r"worker\.(actor|rollout|ref|reward)\.[\w.]+=")
TRAINING = {"per_device_train_batch_size", "gradient_accumulation_steps"}
"""Flags of every trainer on transformers."""
PRIME_RL_ENTRIES = ("rl", "trainer", "orchestrator")
"""prime-rl's commands, each of which takes `@ FILE.toml`."""
MODULE = re.compile(r"[A-Za-z_]\w*(\.\w+)+")


class Launch(NamedTuple):
    """One training command of a script."""

    trainer: str
    """`verl`, `trl` or one of doctor/others.py."""
    entry: str
    """What is started: a module, a Python file, or the two words of a command."""
    line: int
    settings: list[tuple[str, str]]
    """Key and value, the variables filled in; verl's keys keep their + and ~."""
    open: dict[str, str]
    """Settings whose value the script does not show, each with what it would take."""
    config: str | None
    """The file of settings that the command names."""
    processes: int | None
    """Processes of the run, where the command says it."""
    sure: bool = True
    """False for a Python file of which the command alone does not show that it trains."""


class Launches(NamedTuple):
    """The training commands of a script."""

    launches: list[Launch]
    notes: list[str]
    """A sentence for each command of a trainer that is not read."""


def launches(script: Script) -> Launches:
    """The training commands of a script, in its order."""
    read: list[Launch] = []
    notes: list[str] = []
    for command in script.commands:
        words = _submitted(command.words)
        unread = _unread_trainer(words)
        other = _other_trainer(words)
        if _is_verl(words):
            read.append(_verl(command, words))
        elif unread is not None:
            line = command.line
            notes.append(f"line {line} starts {unread}, whose settings are not read")
        elif other is not None:
            read.append(_other(command, words, other))
        elif _is_trl(words):
            read.append(_trl(command, words))
        elif _is_python(words):
            read.append(_trl(command, words)._replace(sure=False))
    return Launches(read, notes)


def _submitted(words: Sequence[Word]) -> Sequence[Word]:
    """What is behind the `--` of a job submission; all words where there is none."""
    for at, word in enumerate(words):
        if word.text == "--":
            return words[at + 1 :]
    return words


def _entry(words: Sequence[Word]) -> str:
    """The module behind -m, or the first Python file, or the first two words."""
    for word, following in itertools.pairwise(words):
        if word.text == "-m" and MODULE.fullmatch(following.text):
            return following.text
    for word in words:
        # a setting may name a Python file too
        if word.text.endswith(".py") and "=" not in word.text:
            return word.text
    return " ".join(word.text for word in words[:2])


def _behind(words: Sequence[Word], entry: str) -> Sequence[Word]:
    """The entry and what is behind it; in front stand a launcher's words, and those of
    the environment."""
    texts = [word.text for word in words]
    return words[texts.index(entry) :] if entry in texts else words


def _unread_trainer(words: Sequence[Word]) -> str | None:
    entry = _entry(words).lower()
    for part, name in UNREAD.items():
        if part in entry:
            return name
    return None


# verl


def _is_verl(words: Sequence[Word]) -> bool:
    """Whether a command has verl's settings, or starts one of its trainers with few or
    none."""
    if any(VERL_SETTING.match(word.text) for word in words):
        return True
    return VERL_ENTRY.fullmatch(_entry(words)) is not None


def _verl(command: Command, words: Sequence[Word]) -> Launch:
    settings: list[tuple[str, str]] = []
    unknown: dict[str, str] = {}
    for word in _behind(words, _entry(words)):
        key, equals, value = word.text.partition("=")
        if not equals or not re.fullmatch(r"[+~]*[A-Za-z_][\w.@/]*", key):
            continue
        if word.open:
            unknown[key.lstrip("+~")] = word.open[0]
        else:
            settings.append((key, value))
    flags = dict(_flags(words))
    config = flags["config_name"].text if "config_name" in flags else None
    if config is not None and "config_path" in flags:
        config = f"{flags['config_path'].text}/{config}"
    entry = _entry(words)
    return Launch("verl", entry, command.line, settings, unknown, config, None)


# doctor/others.py


def _other_trainer(words: Sequence[Word]) -> str | None:
    """The trainer of doctor/others.py that a command starts."""
    texts = [word.text for word in words]
    flags = {flag_name(text.partition("=")[0]) for text in texts if text[:2] == "--"}
    entry = _entry(words).lower()
    if any(SKYRL_SETTING.match(text) for text in texts):
        return "skyrl"
    if entry == "verl.trainer.main" or any(map(EASYR1_SETTING.match, texts)):
        return "easyr1"
    if "openrlhf" in entry and "ppo" in entry:
        return "openrlhf"
    if "train_ppo" in entry and "rollout_batch_size" in flags:
        return "openrlhf"
    if "rollout_batch_size" in flags and "advantage_estimator" in flags:
        # OpenRLHF before its names had dots
        return "openrlhf" if "init_kl_coef" in flags else "slime"
    if _follows(texts, "@") and any(text in PRIME_RL_ENTRIES for text in texts):
        return "prime-rl"
    if _follows(texts, "axolotl", "train"):
        return "axolotl"
    if "grpo" in texts and ("rlhf" in texts or entry.endswith("swift/cli/rlhf.py")):
        return "megatron-swift" if "megatron" in texts else "ms-swift"
    return None


def _follows(texts: Sequence[str], *wanted: str) -> bool:
    """Whether these words stand one after the other, with another behind them."""
    size = len(wanted)
    places = range(len(texts) - size)
    return any(tuple(texts[at : at + size]) == wanted for at in places)


def _other(command: Command, words: Sequence[Word], trainer: str) -> Launch:
    """KEY=VALUE, --flag VALUE... and the file behind `@` or `train`."""
    settings: list[tuple[str, str]] = []
    unknown: dict[str, str] = {}
    config = None
    for word, following in itertools.pairwise(words):
        if word.text == "@" or (word.text == "train" and trainer == "axolotl"):
            config = following.text
    for word in _behind(words, _entry(words)):
        match = re.fullmatch(r"([+~]*[A-Za-z_][\w.]*)=(.*)", word.text, re.DOTALL)
        if match is not None and word.open:
            unknown[match[1].lstrip("+~")] = word.open[0]
        elif match is not None:
            settings.append((match[1], match[2]))
    if trainer == "easyr1":
        config = dict(settings).get("config")
        settings = [each for each in settings if each[0] != "config"]
    for key, values in _flags_with_all(words):
        closed = list(itertools.takewhile(lambda word: not word.open, values))
        if values and not closed:
            unknown[key] = values[0].open[0]
        else:
            # an open word behind a value is the next argument
            settings.append((key, " ".join(word.text for word in closed) or "true"))
    entry = _entry(words)
    return Launch(trainer, entry, command.line, settings, unknown, config, None)


def _flags_with_all(words: Sequence[Word]) -> Iterator[tuple[str, list[Word]]]:
    """--name and every word up to the next flag; --name=value has that one."""
    key, values = None, []
    for word in words:
        if not re.match(r"--[A-Za-z_]", word.text):
            values.append(word)
            continue
        if key is not None:
            yield key, values
        name, equals, value = word.text.partition("=")
        key = flag_name(name)
        values = [Word(value, word.open)] if equals else []
    if key is not None:
        yield key, values


# TRL


def _is_trl(words: Sequence[Word]) -> bool:
    texts = [word.text for word in words]
    if texts[:2] == ["trl", "grpo"]:
        return True
    if not _is_python(words):
        return False
    flags = {flag_name(text.partition("=")[0]) for text in texts if text[:2] == "--"}
    if flags & {"config", "num_generations"}:
        return True
    return "grpo" in _entry(words).lower() and bool(flags & TRAINING)


def _is_python(words: Sequence[Word]) -> bool:
    return any(word.text.endswith(".py") or word.text == "-m" for word in words)


def _trl(command: Command, words: Sequence[Word]) -> Launch:
    entry = _entry(words)
    # of `accelerate launch --num_processes 8 train.py --lr 1` the launcher's part
    split = len(words) - len(_behind(words, entry))
    settings: list[tuple[str, str]] = []
    unknown: dict[str, str] = {}
    config = None
    for key, word in _flags(words[split:]):
        if key == "config":
            config = word.text
        elif word.open:
            unknown[key] = word.open[0]
        else:
            settings.append((key, word.text))
    processes = _processes(words[:split])
    return Launch("trl", entry, command.line, settings, unknown, config, processes)


def _processes(words: Sequence[Word]) -> int | None:
    for key, word in _flags(words):
        if key in ("num_processes", "nproc_per_node"):
            known = re.fullmatch(r"[1-9]\d{0,5}", word.text)
            return int(word.text) if known else None
    return None


def _flags(words: Sequence[Word]) -> Iterator[tuple[str, Word]]:
    """--name value and --name=value; a flag alone is true, as transformers' parser has
    it."""
    for at, word in enumerate(words):
        match = re.fullmatch(r"--([A-Za-z_][\w-]*)(=(.*))?", word.text, re.DOTALL)
        if match is None:
            continue
        key = match[1].replace("-", "_")
        following = words[at + 1] if at + 1 < len(words) else None
        if match[2] is not None:
            yield key, Word(match[3], word.open)
        elif following is None or following.text.startswith("--"):
            yield key, Word("true")
        else:
            yield key, following
