"""entrostat completion: the script by which a shell completes commands, methods, options
and their choices; everything else is completed as a file.

tyro can write such scripts too, of a command line that is one tree. This one imports the
options of the command that was typed alone. tyro's also start a Python at each Tab,
offer no files, and do not know the colon in trl:gspo.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, Literal, get_args, get_origin

from tyro.conf import Positional

from entrostat.cli.help import is_marked, option_fields
from entrostat.cli.words import parse
from entrostat.lab.method_registry import METHODS
from entrostat.lab.options import option
from entrostat.unloaded import unloaded

Shell = Literal["bash", "zsh", "fish"]


@dataclasses.dataclass(frozen=True)
class Completion:
    """Prints the script that completes `entrostat` in a shell. To install it:

    entrostat completion bash > ~/.entrostat.sh && echo '. ~/.entrostat.sh' >> ~/.bashrc

    With zsh both words are zsh and .zshrc. The first half alone brings it up to date. With
    fish it is entrostat completion fish > ~/.config/fish/completions/entrostat.fish
    """

    shell: Positional[Shell]
    """The shell."""


def completion(args: list[str]) -> int:
    """`entrostat completion`: the exit code."""
    options = parse(Completion, args, "entrostat completion")
    print(script(options.shell))
    return 0


def script(shell: Shell) -> str:
    """The functions of the words, and what of the shell calls them."""
    typed_before: dict[str, list[str]] = {}
    for typed, words in table().items():
        typed_before.setdefault(" ".join(words), []).append(f'"{typed}"')
    cases = []
    for words, typed in typed_before.items():
        if shell == "fish":
            cases.append(f"        case {' '.join(typed)}\n            echo {words}")
        else:
            cases.append(f'        {"|".join(typed)}) echo "{words}" ;;')
    return _SCRIPTS[shell].replace("CASES", "\n".join(cases))


def table() -> dict[str, list[str]]:
    """What can follow, by what was typed: "", a command, a command and a method.

    Behind an option ("train --out") the choices of its value; an empty list is a value
    that is no choice.
    """
    kinds = option_classes()
    rows = {"": [*kinds, "--help", "--version"]}
    for command, kind in kinds.items():
        rows |= _rows(command, kind, _free_words(command))
    for name, path in METHODS.paths.items():
        rows |= _rows(f"train {name}", unloaded(path), ())
    return rows


def option_classes() -> dict[str, type[Any]]:
    """The options of each command."""
    from entrostat.cli.compare import compare_options
    from entrostat.cli.effect import effect_options
    from entrostat.cli.others import Report
    from entrostat.cli.train import train_options
    from entrostat.diagnose.options import Diagnose
    from entrostat.doctor.command import Doctor
    from entrostat.evaluation.options import Evaluate
    from entrostat.lab.pretrain_options import PretrainConfig
    from entrostat.reproduce.options import Reproduce

    return {
        "train": train_options({}),
        "compare": compare_options(),
        "evaluate": Evaluate,
        "report": Report,
        "diagnose": Diagnose,
        "effect": effect_options(),
        "doctor": Doctor,
        "reproduce": Reproduce,
        "pretrain": PretrainConfig,
        "completion": Completion,
    }


def _free_words(command: str) -> Iterable[str]:
    """What stands behind a command without an option, where it is no file."""
    from entrostat.reproduce.claims import claim_names

    if command in ("train", "compare", "effect"):
        return METHODS
    if command == "reproduce":
        return claim_names()
    return get_args(Shell) if command == "completion" else ()


def _rows(typed: str, kind: Any, free: Iterable[str]) -> dict[str, list[str]]:
    """The rows of one command or method."""
    words = ["--help"]
    rows = {}
    for _, field in option_fields(kind):
        if is_marked(field, "Positional"):
            continue
        name = option(field.name)
        if field.type is bool:
            # a flag that is on is switched off
            words.append(name.replace("--", "--no-", 1) if field.default else name)
            continue
        words.append(name)
        rows[f"{typed} {name}"] = list(_choices(field.type))
    return {typed: [*words, *free], **rows}


def _choices(annotation: Any) -> Iterator[str]:
    """The words of the Literals in a type."""
    if get_origin(annotation) is Literal:
        yield from map(str, get_args(annotation))
        return
    for inner in get_args(annotation):
        yield from _choices(inner)


_TABLE = """\
# completion of entrostat, made by `entrostat completion`: after an update make it again
_entrostat_words() {
    case "$1" in
CASES
        *) return 1 ;;
    esac
}

# the words that can follow $@, of which the first is entrostat; none where it is a file
_entrostat_after() {
    local typed="$2" last="" word
    shift; [ $# -gt 0 ] && shift
    for word in "$@"; do
        # a method has options of its own
        _entrostat_words "$typed $word" > /dev/null && [ "${word#-}" = "$word" ] && typed="$typed $word"
        last="$word"
    done
    case "$last" in
        --*) _entrostat_words "$typed $last" && return ;;
    esac
    _entrostat_words "$typed"
}
"""
"""For bash and zsh alike."""
_BASH = """
_entrostat() {
    # from the line: bash splits words at colons, and methods have one
    local line="${COMP_LINE:0:COMP_POINT}" current typed
    read -ra typed <<< "$line"
    current=""
    if [[ "$line" != *[[:space:]] ]]; then
        # not typed[-1], which the bash of macOS does not know
        current="${typed[${#typed[@]} - 1]}"
        unset "typed[${#typed[@]} - 1]"
    fi
    COMPREPLY=($(compgen -W "$(_entrostat_after "${typed[@]}")" -- "$current"))
    if [[ "$current" == *:* && "$COMP_WORDBREAKS" == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${current%"${current##*:}"}"}")
    fi
}
complete -o default -F _entrostat entrostat"""
_ZSH = """
_entrostat() {
    local -a following
    following=($(_entrostat_after "${(@)words[1,CURRENT-1]}"))
    compadd -- $following || _files
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _entrostat entrostat"""
_FISH = """\
# completion of entrostat, made by `entrostat completion`: after an update make it again
function _entrostat_words
    switch "$argv[1]"
CASES
        case '*'
            return 1
    end
end

# the words that can follow $argv, of which the first is entrostat; none where it is a file
function _entrostat_after
    set -l typed "$argv[2]"
    for word in $argv[2..]
        # a method has options of its own
        if not string match -q -- '-*' "$word"; and _entrostat_words "$typed $word" >/dev/null
            set typed "$typed $word"
        end
    end
    if string match -q -- '--*' "$argv[-1]"; and _entrostat_words "$typed $argv[-1]"
        return
    end
    _entrostat_words "$typed"
end

function _entrostat
    set -l current (commandline -ct)
    set -l found 0
    for word in (_entrostat_after (commandline -opc) | string split -n ' ')
        if test "$current" = (string sub -l (string length -- "$current") -- $word)
            echo $word
            set found 1
        end
    end
    test $found = 1; or __fish_complete_path "$current"
end
complete -c entrostat -f -a '(_entrostat)'"""
_SCRIPTS = {"bash": _TABLE + _BASH, "zsh": _TABLE + _ZSH, "fish": _FISH}
