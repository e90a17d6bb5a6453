# SPDX-License-Identifier: Apache-2.0
"""Starts fake-vm and speaks HTTP to its socket; shared by the tests of this directory."""

import http.client
import json
import os
import socket
import subprocess
import tempfile


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, response, text):
        self.status = response.status
        self.type = response.getheader("Content-Type")
        self.allow = response.getheader("Allow")
        self.text = text
        self.json = json.loads(text) if text and self.type == "application/json" else None


def request(path, method, route, body=None):
    """One request on a connection of its own. @body: None, bytes, or something for json.dumps."""
    connection = Connection(path)
    try:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, route, body=data)
        response = connection.getresponse()
        return Answer(response, response.read())
    finally:
        connection.close()


class Stream:
    """An event stream; iterates over the events. The end of the iteration is a proper one, else it raises IncompleteRead."""

    def __init__(self, path, route="/api/v1/vm.events"):
        self.connection = Connection(path)
        self.connection.request("GET", route)
        self.response = self.connection.getresponse()
        self.status = self.response.status
        self.type = self.response.getheader("Content-Type")

    def __iter__(self):
        for line in iter(self.response.readline, b""):
            yield json.loads(line)

    def close(self):
        self.connection.close()
        self.response.close()


class Runtime:
    """A runtime directory and the fake VMs in it."""

    def __init__(self, program):
        self.program = program
        self.directory = tempfile.TemporaryDirectory(prefix="vmm-test-")
        self.path = os.path.join(self.directory.name, "run")
        self.env = dict(os.environ, VMM_RUNTIME_DIR=self.path)
        self.vms = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        bad = []
        for vm in self.vms:
            vm.process.stdin.close()
            try:
                status = vm.process.wait(20)
            finally:
                vm.process.kill()
            # Killed by a test, or told to die; all else (a sanitizer's complaint, too) is a failure.
            if status not in (0, -9, 9):
                bad.append(f"fake-vm: status {status}: {vm.process.stderr.read()}")
            vm.process.stdout.close()
            vm.process.stderr.close()
        self.directory.cleanup()
        if bad:
            raise AssertionError("\n".join(bad))

    def start(self, name, *options):
        vm = FakeVM(self, name, options)
        self.vms.append(vm)
        return vm


class FakeVM:
    def __init__(self, runtime, name, options=()):
        self.process = subprocess.Popen([runtime.program, name, *options], env=runtime.env, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline().split()
        if not ready:
            raise RuntimeError(self.process.stderr.read().strip())
        self.socket = ready[1]

    def request(self, method, route, body=None):
        return request(self.socket, method, "/api/v1/" + route, body)
