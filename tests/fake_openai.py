"""An OpenAI-compatible server without a model: it says what a script tells it to, and fails to
order.

Its prompts read as those of `ScriptedModel`, so scripts for searches serve here, too. By `kind` it
is like vLLM (takes every field), like llama-server (goes on with a last turn of the assistant's,
gives one answer a request), or plain (refuses fields that OpenAI does not know). `faults` are met
one by one by the next requests.
"""

from __future__ import annotations

import json
import math
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from forethought.config import SamplingParams
from forethought.engine.scripted import cut_reply

Kind = Literal["vllm", "llama", "plain"]
Script = Callable[[str, int, int], str]
Judge = Callable[[str], dict[str, float]]

_STRANGE = ("top_k", "min_p", "continue_final_message", "no_stop_trim", "prompt_logprobs")
_TOKEN = re.compile(r"\s*\S+|\s+")


class FakeServer:
    """Counts and keeps what it is asked for; `hung_up` counts clients that left a stream early."""

    def __init__(self, script: Script, kind: Kind, judge: Judge | None) -> None:
        self.script, self.judge = script, judge
        self.kind: Kind = kind
        self.faults: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.pause = 0.0
        self.hung_up = 0
        self.most_at_once = 0
        self.running = 0
        self.lock = threading.Lock()
        self.release = threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    @property
    def drawn(self) -> list[dict[str, Any]]:
        """The requests for answers, without trials."""
        return [body for body in self.bodies if body.get("stream")]

    def says(self, prompt: str, seed: int, index: int) -> str:
        """The whole answer."""
        if "Count from one to nine" in prompt:
            return (
                "ur, five, six, seven" if prompt.endswith("fo") else "one, two, three, four, five"
            )
        return self.script(prompt, seed, index)


@contextmanager
def serving(
    script: Script, *, kind: Kind = "vllm", judge: Judge | None = None
) -> Iterator[FakeServer]:
    """The server on a thread, ended afterwards."""
    server = FakeServer(script, kind, judge)
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def prompt_of(body: dict[str, Any], kind: Kind) -> str:
    """What the model would read."""
    if "prompt" in body:
        return str(body["prompt"])
    turns = body["messages"]
    begun = ""
    goes_on = kind == "llama" or body.get("continue_final_message")
    if goes_on and turns[-1]["role"] == "assistant":
        begun, turns = turns[-1]["content"], turns[:-1]
    return "".join(f"{t['role']}: {t['content']}\n" for t in turns) + "assistant: " + begun


def handler(server: FakeServer) -> type[BaseHTTPRequestHandler]:
    """A request handler that knows its server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            size = {"max_model_len": 4096} if server.kind == "vllm" else {}
            self.answer(200, {"data": [{"id": "large", **size}]})

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            body = json.loads(data)
            with server.lock:
                server.bodies.append(body)
                server.headers.append(dict(self.headers))
                server.running += 1
                server.most_at_once = max(server.most_at_once, server.running)
                fault = server.faults.pop(0) if server.faults else ""
            try:
                self.serve(body, fault)
            except OSError:
                with server.lock:
                    server.hung_up += 1
                self.close_connection = True
            finally:
                with server.lock:
                    server.running -= 1

        def serve(self, body: dict[str, Any], fault: str) -> None:
            if fault == "reset":
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()
                self.close_connection = True
                self.wfile = None  # type: ignore[assignment]
            elif fault == "hang":
                server.release.wait(30)
                self.close_connection = True
            elif fault.isdigit() or fault.startswith("429 "):
                status, _, after = fault.partition(" ")
                headers = {"Retry-After": after} if after else {}
                self.answer(int(status), {"error": {"message": "not now"}}, headers)
            elif fault == "too long":
                message = "This model's maximum context length is 9 tokens"
                self.answer(400, {"error": {"message": message}})
            elif fault == "truncated":
                self.send(200, "application/json", b'{"choices": [{"mess')
            elif server.kind == "plain" and any(name in body for name in _STRANGE):
                self.answer(400, {"error": {"message": "unknown field"}})
            elif body.get("stream"):
                self.stream(body, fault)
            else:
                self.answer(200, self.whole(body))

        def texts(self, body: dict[str, Any]) -> list[tuple[str, str]]:
            count = 1 if server.kind == "llama" else body.get("n", 1)
            prompt, seed = prompt_of(body, server.kind), body.get("seed", 0)
            return [self.cut(server.says(prompt, seed, one), body) for one in range(count)]

        def cut(self, text: str, body: dict[str, Any]) -> tuple[str, str]:
            keep = bool(body.get("include_stop_str_in_output")) and server.kind == "vllm"
            params = SamplingParams(stop=tuple(body.get("stop", ())), keep_stop=keep)
            text = cut_reply(text, params)[0]
            tokens = _TOKEN.findall(text)
            limit = body["max_tokens"]
            return "".join(tokens[:limit]), "length" if len(tokens) > limit else "stop"

        def whole(self, body: dict[str, Any]) -> dict[str, Any]:
            prompt, is_chat = prompt_of(body, server.kind), "messages" in body
            choices = []
            for index, (text, reason) in enumerate(self.texts(body)):
                said = {"message": {"content": text}} if is_chat else {"text": text}
                choices.append({"index": index, "finish_reason": reason, **said})
            read = _TOKEN.findall(prompt)
            reply = {"choices": choices, "usage": usage(len(read), 1)}
            if body.get("logprobs") and server.judge:
                choices[0]["logprobs"] = alternatives(server.judge(prompt), is_chat)
            if body.get("echo"):
                written = _TOKEN.findall(choices[0]["text"])[:1]
                choices[0]["logprobs"] = {
                    "tokens": read + written,
                    "token_logprobs": [None, *[-0.5] * (len(read) - 1), -9.0],
                }
            if "prompt_logprobs" in body and server.kind == "vllm":
                one = [{str(n): {"logprob": -0.5, "decoded_token": t}} for n, t in enumerate(read)]
                reply["prompt_logprobs"] = [None, *one[1:]]
            return reply

        def stream(self, body: dict[str, Any], fault: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            texts = self.texts(body)
            parts = [_TOKEN.findall(text) for text, _ in texts]
            for place in range(max(map(len, parts), default=0)):
                for index, tokens in enumerate(parts):
                    if place < len(tokens):
                        self.event(self.part(body, index, tokens[place]))
                        time.sleep(server.pause)
                if fault == "drop":
                    return
                if fault == "garbled":
                    self.wfile.write(b'data: {"choices": [{"ind\n\n')
                    return
            for index, (_, reason) in enumerate(texts):
                self.event({"choices": [{"index": index, "delta": {}, "finish_reason": reason}]})
            read = len(_TOKEN.findall(prompt_of(body, server.kind)))
            self.event({"choices": [], "usage": usage(read, sum(map(len, parts)))})
            self.wfile.write(b"data: [DONE]\n\n")

        def part(self, body: dict[str, Any], index: int, token: str) -> dict[str, Any]:
            said: dict[str, Any] = {"text": token}
            if "messages" in body:
                said = {"delta": {"content": token}}
            if body.get("logprobs"):
                said["logprobs"] = {"content": [{"token": token, "logprob": -0.25}]}
            return {"choices": [{"index": index, "finish_reason": None, **said}]}

        def event(self, data: dict[str, Any]) -> None:
            self.wfile.write(b"data: " + json.dumps(data).encode() + b"\n\n")
            self.wfile.flush()

        def answer(
            self, status: int, data: dict[str, Any], headers: dict[str, str] | None = None
        ) -> None:
            self.send(status, "application/json", json.dumps(data).encode(), headers)

        def send(
            self, status: int, kind: str, data: bytes, headers: dict[str, str] | None = None
        ) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    """Counts, two of the prompt's tokens cached."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "prompt_tokens_details": {"cached_tokens": min(2, prompt_tokens)},
    }


def alternatives(shares: dict[str, float], is_chat: bool) -> dict[str, Any]:
    """Log-probabilities of the first token, in the form of a chat's or of a text's."""
    logprobs = {token: math.log(share) for token, share in shares.items()}
    if not is_chat:
        return {"tokens": ["x"], "token_logprobs": [-1.0], "top_logprobs": [logprobs]}
    top = [{"token": token, "logprob": value} for token, value in logprobs.items()]
    return {"content": [{**top[0], "top_logprobs": top}]}
