"""A generation server that speaks what TRL's asynchronous trainer asks of vLLM, over HTTP: the requests of its
VLLMClient and of its rollout worker. It serves one model on a CPU, in bfloat16, one request after the other."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from trl.experimental.async_grpo.vllm_client import VLLMClient

MAX_MODEL_LEN = 96


class Server:
    """Runs in a thread of the test's process. `requests`: the path of each request, in order."""

    def __init__(self, folder):
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
        self.requests: list[str] = []
        self.lock = threading.Lock()
        self.open = threading.Event()
        self.open.set()
        handler = type("Handler", (_Handler,), {"server_of": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def __enter__(self):
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()

    def answer(self, path, body):
        """The JSON of an answer."""
        if path == "/v1/models":
            return {"data": [{"id": "policy", "max_model_len": MAX_MODEL_LEN}]}
        if path == "/pause":
            self.open.clear()
        if path == "/resume":
            self.open.set()
        if path == "/update_weights":
            self.load(body["update_info"]["path"])
        if path == "/v1/completions":
            self.open.wait()
            with self.lock:
                return {"choices": [self.complete(body)]}
        return {}

    def load(self, path):
        """Weights by the names that TRL streams; those of the file alone."""
        given = load_file(path)
        with self.lock, torch.no_grad():
            own = dict(self.model.named_parameters())
            assert given.keys() == own.keys()
            for name, weight in given.items():
                own[name].copy_(weight)

    @torch.no_grad()
    def complete(self, body):
        """One completion with the log-probability of each token, drawn at temperature 1 without a cut."""
        assert body["n"] == 1 and body["temperature"] == body["top_p"] == 1 and body["return_token_ids"]
        generator = torch.Generator().manual_seed(body["seed"])
        ids, logprobs = list(body["prompt"]), []
        for _ in range(body["max_tokens"]):
            all_logprobs = self.model(torch.tensor([ids])).logits[0, -1].float().log_softmax(-1)
            token = int(torch.multinomial(all_logprobs.exp(), 1, generator=generator))
            ids.append(token)
            logprobs.append(float(all_logprobs[token]))
            if token == self.model.config.eos_token_id:
                break
        return {"token_ids": ids[len(body["prompt"]) :], "logprobs": {"token_logprobs": logprobs}}


class _Handler(BaseHTTPRequestHandler):
    server_of: Server

    def do_GET(self):
        self._do(None)

    def do_POST(self):
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._do(json.loads(content) if content else {})

    def _do(self, body):
        path = urlsplit(self.path).path
        self.server_of.requests.append(path)
        content = json.dumps(self.server_of.answer(path, body)).encode()
        # a worker that stops cancels its requests
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, format, *args): ...


class FileTransfer:
    """TRL's WeightTransferProtocol by the requests of its VLLMClient. Weights travel in a file, where vLLM's would by
    NCCL between two GPUs."""

    def __init__(self, url, path):
        self.client, self.path = VLLMClient(url), str(path)

    def init_weight_transfer(self):
        self.client.wait_for_server_ready()

    def pause(self):
        self.client.pause()

    def send_weights(self, iterator):
        self.client.start_weight_update()
        save_file({name: weight.detach().clone() for name, weight in iterator}, self.path)
        self.client.update_weights({"path": self.path})
        self.client.finish_weight_update()

    def resume(self):
        self.client.resume()

    def destroy(self): ...
