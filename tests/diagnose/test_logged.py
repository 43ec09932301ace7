"""A trainer's own log of rollouts, from the command line: what it tells by itself, and with the model that sampled."""

import json
import math
from collections import defaultdict

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.trainer_callback import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

import reference
from dump.test_logs import VERL_V0, VERL_V1, sample, write_slime, write_trl, write_verl
from entrostat.cli import main
from entrostat.diagnose.retokenise import Retokeniser
from entrostat.dump.logs import Completion
from tiny_models import tiny_model

PROMPTS = ["Ada has 3 apples and buys", "Ben has 14 coins", "Cleo has 2 books and", "Dan has 9 pens so"]
SAMPLES = 4


def run(capsys, *args):
    code = main(["diagnose", *map(str, args)])
    out, err = capsys.readouterr()
    return code, out, err


def as_json(capsys, *args):
    code, out, err = run(capsys, *args, "--json")
    assert code == 0, err
    return json.loads(out)


def verdict_of(made):
    assert len(made["verdict"]) == 5
    return {each["head"]: each["line"] for each in made["verdict"]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folders of a tiny model and of what TRL logs of one rollout of it, before its first update."""
    folder = tmp_path_factory.mktemp("trl")
    model = tiny_model(folder / "model", "qwen2", chat=False)

    def by_length(completions, **_):
        return [float(len(completion) % 3) for completion in completions]

    args = GRPOConfig(
        output_dir=str(folder / "out"),
        max_steps=1,
        per_device_train_batch_size=len(PROMPTS) * SAMPLES,
        num_generations=SAMPLES,
        max_completion_length=6,
        logging_steps=1,
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        disable_tqdm=True,
        report_to="none",
        log_completions=True,
        num_completions_to_print=1,
    )
    torch.set_num_threads(1)
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        processing_class=AutoTokenizer.from_pretrained(model, padding_side="left"),
        reward_funcs=by_length,
        args=args,
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS]),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return model, folder / "out"


def test_what_trl_itself_logs(capsys, trained):
    _, out = trained
    made = as_json(capsys, out)
    (row,) = made["rollouts"]
    assert (made["trainer"], row["step"], row["prompts"], row["completions"]) == ("TRL", 1, 4, 16)
    assert row["unit"] == "characters" and row["surprisal"] is None
    verdict = verdict_of(made)
    assert verdict["Moved"] == "not told: TRL's log_completions has no entropy"
    assert "give --model CHECKPOINT" in verdict["Change"]
    assert verdict["Not read"].startswith("token ids, ln p, entropy, clip events")
    code, text, _ = run(capsys, out, "--full")
    assert code == 0 and "By rollout" in text and "which prompts push at all" in text


def by_hand(model, prompt, response, temperature):
    """(ids, [(ln p, H, sum p^2, sum p^2 ln p)]) of the tokens of a response, one sequence alone."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    before, ids = tokenizer(prompt)["input_ids"], tokenizer(response, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = network(torch.tensor([before + ids])).logits[0, len(before) - 1 : -1]
    return ids, [reference.stats(z, a, temperature) for z, a in zip(logits.tolist(), ids, strict=True)]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_a_model_gives_the_change_and_its_causes(capsys, trained, temperature):
    model, out = trained
    import pandas

    (file,) = (out / "completions").iterdir()
    made = as_json(capsys, file, "--model", model, "--temperature", temperature)
    total, tokens, regions = 0.0, 0, defaultdict(float)
    for row in pandas.read_parquet(file).to_dict("records"):
        _, stats = by_hand(model, row["prompt"], row["completion"], temperature)
        for logprob, entropy, sum_p2, sum_p2_logp in stats:
            bracket = math.exp(logprob) * (logprob + entropy) - sum_p2_logp - entropy * sum_p2
            change = -row["advantage"] * bracket
            regions[reference.region(logprob, entropy, row["advantage"])] += change
            total += change
            tokens += 1
    assert made["measure"] == "entropy_change" and made["tokens"] == tokens
    scale = sum(map(abs, regions.values())) / tokens
    assert made["change"]["value"] == pytest.approx(total / tokens, abs=1e-4 * scale)
    causes = {cause["key"]: cause["change"]["value"] for cause in made["causes"]}
    for region in (1, 2, 3, 4):
        assert causes[f"E{region}"] == pytest.approx(regions[region] / tokens, abs=1e-4 * scale)
    assert made["paths"] == [str(file)] and made["advice"] is None and made["map"] is None
    verdict = verdict_of(made)
    assert verdict["Not read"].startswith("old_logprobs, clipped, sampled tokens (retokenised)")
    assert any(line.startswith("no column old_logprobs: ratios are taken as 1") for line in made["left_out"])


def test_with_a_model_there_is_a_page(capsys, trained, tmp_path):
    model, out = trained
    code, _, err = run(capsys, out, "--html", tmp_path / "page.html")
    assert code == 2 and err.count("\n") == 1 and "recompute it with --model" in err
    as_json(capsys, out, "--model", model, "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "sampled tokens (retokenised)" in page and "Trained tokens:" in page


def test_a_model_that_did_not_sample_is_said_to_fit_ill(capsys, trained, tmp_path):
    """Texts that nobody's random model would write."""
    model, _ = trained
    lines = []
    for number in range(40):
        answer = " and buys 3 more, so the final answer is"
        record = {"input": PROMPTS[number % 4], "output": answer, "score": number % 3, "step": 1}
        lines.append(json.dumps(record))
    # a model that is sure of other tokens
    network = AutoModelForCausalLM.from_pretrained(model)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3.0)
    network.save_pretrained(tmp_path / "other")
    AutoTokenizer.from_pretrained(model).save_pretrained(tmp_path / "other")
    made = as_json(capsys, write_verl(tmp_path / "r", *lines), "--model", tmp_path / "other")
    assert "policy that sampled (the model fits ill)" in verdict_of(made)["Not read"]


def test_the_model_that_sampled_is_not_said_to_fit_ill(capsys, trained):
    model, out = trained
    assert "fits ill" not in verdict_of(as_json(capsys, out, "--model", model))["Not read"]


def test_slime_by_itself_estimates_the_entropy(capsys, tmp_path):
    for step, logprob in ((1, -0.5), (2, -0.25)):
        write_slime(
            tmp_path,
            sample(rollout_log_probs=[logprob] * 3),
            sample(reward=0.0, rollout_log_probs=[logprob, -9.0, logprob], loss_mask=[1, 0, 1]),
            name=f"rollout_{step}.pt",
            rollout=step,
        )
    made = as_json(capsys, tmp_path)
    assert [row["surprisal"] for row in made["rollouts"]] == [0.5, 0.25]
    assert [row["length_up"] for row in made["rollouts"]] == [3, 3]
    assert [row["length_down"] for row in made["rollouts"]] == [2, 2]
    assert "which estimates entropy, 0.500 to 0.250 nats" in verdict_of(made)["Moved"]


def test_slime_s_own_tokens_are_taken_and_its_mask(capsys, trained, tmp_path):
    model, _ = trained
    ids, stats = by_hand(model, PROMPTS[0], " 3 more", 1.0)
    prompt = AutoTokenizer.from_pretrained(model)(PROMPTS[0])["input_ids"]
    recorded = [stat[0] - 0.125 for stat in stats]
    common = {"tokens": prompt + ids, "response_length": len(ids), "rollout_log_probs": recorded}
    mask = [0] + [1] * (len(ids) - 1)
    path = write_slime(tmp_path, sample(**common), sample(**common, reward=0.0, loss_mask=mask))
    made = as_json(capsys, path, "--model", model)
    assert made["tokens"] == 2 * len(ids) - 1
    assert any("it is 0.125 nats from the model's" in line for line in made["left_out"])
    assert not any("retokenised" in line for line in made["left_out"])


def test_verl_without_a_model(capsys, tmp_path):
    made = as_json(capsys, write_verl(tmp_path, *VERL_V1))
    (row,) = made["rollouts"]
    assert (row["prompts"], row["completions"], row["pushing"]) == (2, 3, 0.5)
    assert (row["all_right"], row["none_right"], row["reward"]) == (0.5, 0.0, pytest.approx(2 / 3))
    assert verdict_of(made)["Tokens"] == "not told; 50% of 2 prompts push (all right 50%, none 0%)"


def test_text_of_a_log_never_reaches_the_terminal_raw(capsys, trained, tmp_path):
    model, _ = trained
    harm = "\x1b[31m[bold]\u202e</script>"
    lines = []
    for number, line in enumerate(VERL_V0 * 2):
        lines.append(json.dumps(json.loads(line) | {"input": PROMPTS[number % 2] + harm, "output": harm}))
    path = write_verl(tmp_path, *lines, "{")
    for args in (["--skip-bad"], ["--skip-bad", "--model", model], []):
        _, out, err = run(capsys, path, "--full", *args)
        assert not set(out + err) & {"\x1b", "\u202e"}
    bad = write_verl(tmp_path, json.dumps({"input": "a", "output": "b", "score": harm}), name="8.jsonl")
    _, _, err = run(capsys, bad)
    assert "\x1b" not in err and err.count("\n") == 1
    column = write_trl(tmp_path / "t", **{harm: [1.0] * 4})
    _, out, err = run(capsys, column, "--full")
    assert not set(out + err) & {"\x1b", "\u202e"} and "accuracy" in out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["r", "--model", "no-such-model"], "no causal language model with a tokenizer in 'no-such-model'"),
        (["r", "--model", "MODEL", "--temperature", "0"], "temperature must be positive, got 0"),
        (["many", "--model", "MODEL"], "--model is one policy, got several rollouts in 2 files"),
        (["r", "d.parquet"], "diagnose one kind at a time"),
        (["d.parquet", "--model", "MODEL"], "--model is for a trainer's log of rollouts"),
        (["d.parquet", "--reward", "x"], "--reward is for a trainer's log of rollouts"),
        (["foreign", "--model", "MODEL"], "has 320 tokens: give the model that sampled it"),
        (["empty", "--model", "MODEL"], "completion 0 has an empty prompt"),
        (["long", "--model", "MODEL"], "all 1 completions are longer than the 512 tokens"),
        (["other.jsonl"], "nor a line of verl's rollout_data_dir, which has input, output and score"),
    ],
)
def test_what_can_not_be_is_one_line(capsys, monkeypatch, trained, tmp_path, make_dump, args, said):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder, _ = make_dump()
    (folder / "step-000000.parquet").rename(tmp_path / "d.parquet")
    write_verl(tmp_path / "r", *VERL_V0)
    write_verl(tmp_path / "many", *VERL_V0)
    write_verl(tmp_path / "many", *VERL_V1, name="8.jsonl")
    write_slime(tmp_path / "foreign", sample(tokens=[1, 2, 3, 4, 10**6]))
    write_slime(tmp_path / "empty", sample(tokens=[1, 2, 3]))
    write_slime(tmp_path / "long", sample(tokens=[1] * 600))
    (tmp_path / "other.jsonl").write_text('{"prompt": "x"}\n')
    paths = [str(tmp_path / arg) if (tmp_path / arg).exists() else arg for arg in args]
    code, out, err = run(capsys, *(str(trained[0]) if arg == "MODEL" else arg for arg in paths))
    assert (code, out, err.count("\n")) == (2, "", 1) and said in err


def test_what_is_too_long_for_the_model_is_counted(capsys, trained, tmp_path):
    path = write_slime(tmp_path, sample(), sample(reward=0.0), sample(tokens=[1] * 600))
    made = as_json(capsys, path, "--model", trained[0])
    assert made["completions"] == 2
    assert any(line.startswith("1 completions: longer than the 512 tokens") for line in made["left_out"])


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture
def chat(tmp_path):
    """A tokenizer whose template is that of Qwen, with its special tokens."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model(tmp_path / "chat", "qwen2"))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = CHATML
    return tokenizer


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "Ada has 3\nuser\napples"}],
        [{"role": "system", "content": "Be\nbrief."}, {"role": "user", "content": "Ada has 3"}],
    ],
)
def test_special_tokens_that_verl_drops_are_put_back(chat, messages):
    ids = chat.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    text = chat.decode(ids, skip_special_tokens=True)
    assert "<|im_start|>" not in text and chat(text)["input_ids"] != ids
    retokeniser = Retokeniser(chat)
    assert retokeniser.tokens(Completion(0, text, " 3", 1.0, 0.0, None)).prompt == ids
    assert retokeniser.tokens(Completion(0, messages, " 3", 1.0, 0.0, None)).prompt == ids
    assert len(retokeniser.notes()) == 1


def test_a_prompt_that_is_no_conversation_is_counted(chat):
    retokeniser = Retokeniser(chat)
    made = retokeniser.tokens(Completion(0, "Ada has 3", " 3", 1.0, 0.0, None))
    assert made.prompt == chat("Ada has 3")["input_ids"]
    assert retokeniser.notes()[-1].startswith("special tokens of 1 of 1 prompts")


def test_a_conversation_and_a_model_without_a_template(capsys, trained, tmp_path):
    turn = {"role": "user", "content": "Hi"}
    path = write_trl(tmp_path, prompt=[[turn]] * 4, completion=[[turn | {"role": "assistant"}]] * 4)
    code, _, err = run(capsys, path, "--model", trained[0])
    assert code == 2 and err.count("\n") == 1 and "the model's chat template gives no text of them" in err
