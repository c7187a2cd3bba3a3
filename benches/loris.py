#!/usr/bin/env python3
"""Floods a service of its own on loopback and says what others notice, and what it costs in memory.

    benches/loris.py [path of the binary, target/release/jintuo by default]

Slow heads: 1,000 sockets that send a byte of a request's head each second, from one address and from eight.
Others' GET /livez is timed before and meanwhile, from an address of its own. Giants: 2 GiB of zeros pushed
with and without a length that says so, with headers that look right and with headers that do not. Slow pushes: bodies
that drip, of who knows a feed and its key's id but not the key, and of a bank that has it, while another bank pushes.
Linux only: every address of 127.0.0.0/8 is this machine, and memory is read from /proc.
"""

import datetime
import hashlib
import hmac
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

KEY = b"0123456789abcdef0123456789abcdef"
PATH = "/v1/feeds/icbc/statements"
SOCKETS = 1000
ASKED = 1500
GIANT = 2 << 30
SLOW_PUSHES = 200
HONEST = 50
SECONDS_HELD = 15
CHUNK = b"%x\r\n%s\r\n" % (1 << 20, bytes(1 << 20))


def connect(port, own):
    s = socket.socket()
    s.settimeout(30)
    s.bind((own, 0))
    s.connect(("127.0.0.1", port))
    return s


def p99_ms(port):
    """Of requests one after another, each on a connection of its own."""
    times = []
    bad = 0
    for _ in range(ASKED):
        began = time.perf_counter()
        try:
            s = connect(port, "127.0.0.9")
            s.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            answer = b""
            while part := s.recv(4096):
                answer += part
            s.close()
            bad += not answer.startswith(b"HTTP/1.1 200")
        except OSError:
            bad += 1
        times.append(time.perf_counter() - began)
        time.sleep(0.002)
    times.sort()
    at = lambda share: times[int(len(times) * share)] * 1000
    return at(0.5), at(0.99), bad


def loris(port, addresses, ended):
    """Keeps SOCKETS slow heads going; a socket that is closed is opened again."""
    sockets = []
    reopened = 0
    while not ended.is_set():
        while len(sockets) < SOCKETS and not ended.is_set():
            try:
                s = connect(port, addresses[len(sockets) % len(addresses)])
                s.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n")
                s.setblocking(False)
                sockets.append(s)
                reopened += 1
            except OSError:
                break
        alive = []
        for s in sockets:
            try:
                s.send(b"x")
                if s.recv(4096) == b"":
                    raise ConnectionError
                raise ConnectionError
            except BlockingIOError:
                alive.append(s)
            except OSError:
                s.close()
        sockets = alive
        ended.wait(1)
    for s in sockets:
        s.close()
    return reopened


def memory_mib(pid, field):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(rf"{field}:\s+(\d+) kB", f.read()).group(1)) / 1024


def push_head(length, key_id="k1", feed="icbc", body=b"", key=KEY):
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    nonce = os.urandom(16).hex()
    path, digest = PATH.replace("icbc", feed), hashlib.sha256(body).hexdigest()
    text = f"jintuo-v1\nPOST\n{path}\n{feed}\n{key_id}\n{now}\n{nonce}\n{digest}\n"
    sign = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return (f"POST {path} HTTP/1.1\r\nhost: x\r\n{length}\r\ncontent-type: text/plain\r\n"
            f"jintuo-key: {key_id}\r\njintuo-timestamp: {now}\r\njintuo-nonce: {nonce}\r\n"
            f"jintuo-digest: {digest}\r\njintuo-signature: {sign}\r\n\r\n").encode()


def giant(port, head, part):
    """Sends up to 2 GiB; the status, and what the service let us send."""
    s = connect(port, "127.0.0.8")
    s.sendall(head)
    sent = 0
    try:
        while sent < GIANT:
            s.sendall(part)
            sent += len(part)
    except OSError:
        pass
    answer = b""
    try:
        answer = s.recv(4096)
    except OSError:
        pass
    s.close()
    status = answer.split(b" ")[1].decode() if b" " in answer else "cut off"
    return status, sent / (1 << 20)


def honest_push(port):
    """A bank's statement; its status and how long it took."""
    body = os.urandom(100_000)
    began = time.perf_counter()
    s = connect(port, "127.0.0.7")
    s.sendall(push_head(f"content-length: {len(body)}\r\nconnection: close", "k2", "abc", body) + body)
    answer = s.recv(4096)
    s.close()
    return answer[9:12].decode(), (time.perf_counter() - began) * 1000


def slow_pushes(port, key, ended, told):
    """Opens as many slow bodies as there is place for and keeps those that are not refused dripping."""
    held = []
    for n in range(SLOW_PUSHES):
        s = connect(port, f"127.0.3.{n % 100 + 1}")
        s.sendall(push_head("content-length: 60000000", body=str(n).encode(), key=key) + bytes(16 << 10))
        held.append(s)
    while not ended.is_set():
        alive = []
        for s in held:
            s.setblocking(False)
            try:
                answer = s.recv(4096)
                status = answer[9:12].decode() or "closed"
                told[status] = told.get(status, 0) + 1
                s.close()
                continue
            except BlockingIOError:
                pass
            except OSError:
                told["closed"] = told.get("closed", 0) + 1
                s.close()
                continue
            try:
                s.send(bytes(2 << 10))
            except OSError:
                pass
            alive.append(s)
        held = alive
        told["held"] = len(held)
        ended.wait(1)
    for s in held:
        s.close()


def pushes_while_slow(port, pid):
    """Whether a bank's pushes are kept whatever others hold."""
    good = True
    for what, key in [("without the key", b"another key of thirty-two bytes."), ("with the key of one feed", KEY)]:
        ended, told = threading.Event(), {}
        slow = threading.Thread(target=slow_pushes, args=(port, key, ended, told))
        slow.start()
        time.sleep(3)
        answers = []
        for _ in range(HONEST):
            answers.append(honest_push(port))
            time.sleep((SECONDS_HELD - 3) / HONEST)
        ended.set()
        slow.join()
        kept = sum(status == "202" for status, _ in answers)
        times = sorted(ms for _, ms in answers)
        good &= kept == HONEST
        print(f"{SLOW_PUSHES} slow pushes {what}: {dict(sorted(told.items()))}; another bank's: {kept} of {HONEST} kept, "
              f"p50 {times[HONEST // 2]:.1f} ms, slowest {times[-1]:.1f} ms, {memory_mib(pid, 'VmRSS'):.0f} MiB")
        time.sleep(1)
    return good


def main():
    binary = sys.argv[1] if len(sys.argv) > 1 else "target/release/jintuo"
    folder = tempfile.mkdtemp(prefix="jintuo-loris-")
    with open(f"{folder}/key", "wb") as f:
        f.write(KEY)
    os.chmod(f"{folder}/key", 0o600)
    with open(f"{folder}/jintuo.toml", "w") as f:
        f.write(f'[database]\nurl = "sqlite:{folder}/books.db"\n[[feed]]\nname = "icbc"\nbank = "ICBC"\n'
                f'[feed.source]\nkind = "push"\nkeys = [{{ id = "k1", algorithm = "hmac-sha256", '
                f'key = {{ file = "{folder}/key" }} }}]\n'
                f'[[feed]]\nname = "abc"\nbank = "ABC"\n[feed.source]\nkind = "push"\n'
                f'keys = [{{ id = "k2", algorithm = "hmac-sha256", key = {{ file = "{folder}/key" }} }}]\n')
    service = subprocess.Popen(
        [binary, "serve", "--config", f"{folder}/jintuo.toml", "--listen", "127.0.0.1:0", "--admin-listen", "", "--log", "info"],
        stderr=subprocess.PIPE, text=True)
    for line in service.stderr:
        if found := re.search(r"serving http://127\.0\.0\.1:(\d+)/", line):
            port = int(found.group(1))
            break
    threading.Thread(target=lambda: [None for _ in service.stderr], daemon=True).start()
    try:
        pid = service.pid
        if not pushes_while_slow(port, pid):
            sys.exit("a bank's pushes were kept out")
        quiet = p99_ms(port)
        print(f"quiet: p50 {quiet[0]:.2f} ms, p99 {quiet[1]:.2f} ms, {quiet[2]} failed, "
              f"{memory_mib(pid, 'VmRSS'):.0f} MiB")
        for addresses in [["127.0.0.2"], [f"127.0.1.{i}" for i in range(1, 9)]]:
            ended = threading.Event()
            flood = threading.Thread(target=loris, args=(port, addresses, ended))
            flood.start()
            time.sleep(3)
            during = p99_ms(port)
            memory = memory_mib(pid, "VmRSS")
            ended.set()
            flood.join()
            print(f"{SOCKETS} slow heads from {len(addresses)}: p50 {during[0]:.2f} ms, p99 {during[1]:.2f} ms "
                  f"({during[1] / quiet[1]:.2f} of quiet), {during[2]} failed, {memory:.0f} MiB")
            time.sleep(11)
        before = memory_mib(pid, "VmRSS")
        long, chunked = f"content-length: {GIANT}", "transfer-encoding: chunked"
        for what, head, part in [
            ("2 GiB announced", push_head(long), bytes(1 << 20)),
            ("2 GiB announced to /", push_head(long).replace(PATH.encode(), b"/"), bytes(1 << 20)),
            ("2 GiB without a length", push_head(chunked), CHUNK),
            ("2 GiB without a length or a key", push_head(chunked, "k2"), CHUNK),
            ("2 GiB without a length to /", push_head(chunked).replace(PATH.encode(), b"/"), CHUNK),
        ]:
            status, sent = giant(port, head, part)
            print(f"{what}: {status} after {sent:.0f} MiB, peak {memory_mib(pid, 'VmHWM'):.0f} MiB "
                  f"(before {before:.0f})")
        pushers = [threading.Thread(target=giant, args=(port, push_head(chunked), CHUNK)) for _ in range(16)]
        for thread in pushers:
            thread.start()
        for thread in pushers:
            thread.join()
        print(f"16 of these at once: peak {memory_mib(pid, 'VmHWM'):.0f} MiB, "
              f"then {memory_mib(pid, 'VmRSS'):.0f} MiB")
    finally:
        service.terminate()
        service.wait(40)
        subprocess.run(["rm", "-r", folder], check=False)


if __name__ == "__main__":
    main()
