"""What the tests rely on where a program of theirs is stopped and started again."""

from __future__ import annotations

import socket
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from tests.support.held import hold, option, ports

from backspan.cli._stack.plan import HOST, busy, parse_ports


def test_a_server_may_listen_on_a_held_port_again_and_again() -> None:
    with hold() as port:
        for _ in range(3):
            with HTTPServer((HOST, port), BaseHTTPRequestHandler) as server:
                assert server.server_address[1] == port
                socket.create_connection((HOST, port)).close()


def test_nobody_else_is_given_a_held_port_and_who_connects_is_refused() -> None:
    with hold() as port:
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((HOST, port))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port))


def test_the_ports_of_a_stack_are_free_for_it() -> None:
    with ports() as held:
        assert busy(held) == {}
        assert parse_ports(option(held).removeprefix("--ports=")) == held
