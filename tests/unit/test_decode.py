from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.analysis.decode.counters import decode_ip, decode_nic, decode_tcp_counters
from testbed.analysis.decode.exchanges import phases
from testbed.analysis.decode.netlink import groups
from testbed.analysis.decode.qdisc import decode_link_names, decode_qdiscs
from testbed.analysis.decode.samples import Samples
from testbed.analysis.decode.schema import code_column, empty, from_structs, schema_of
from testbed.analysis.decode.sockets import decode_sockets
from testbed.events.event_loop import LoopInterval
from testbed.events.http import HttpRequest
from testbed.events.link import LinkPacket
from testbed.events.qdisc import QdiscSample
from testbed.events.tcp import TcpSample
from tests.builders import netlink

DATA = Path(__file__).parent.parent / "data" / "netlink"
US = 1_000


def samples(*payloads: bytes, node: str = "server") -> Samples:
    times = [1000 * number for number in range(1, len(payloads) + 1)]
    return Samples([node] * len(payloads), times, [t + 100 for t in times], list(payloads))


class TestSchema:
    def test_every_event_type_is_a_table(self) -> None:
        for row in (TcpSample, QdiscSample, LinkPacket, HttpRequest, LoopInterval):
            assert empty(row).columns == list(row.__struct_fields__)
        assert schema_of(LinkPacket)["direction"] == pl.Enum(["forward", "reverse"])
        assert schema_of(HttpRequest)["latency_ns"] == pl.Int64

    def test_what_is_no_column_is_an_error(self) -> None:
        class Bad(msgspec.Struct):
            rows: list[int]

        with pytest.raises(TypeError, match="no column type"):
            schema_of(Bad)

    def test_rows_and_nulls(self) -> None:
        class Row(msgspec.Struct):
            kind: Literal["a", "b"]
            number: int | None

        table = from_structs(Row, [Row("b", None), Row("a", 5)])
        assert table.rows() == [("b", None), ("a", 5)]

    def test_codes_beyond_the_names_are_null(self) -> None:
        found = code_column(np.array([1, 0, 2, 255], np.uint8), ("x", "y"))
        assert found.to_list() == ["y", "x", None, None]


class TestSockets:
    """A reply of Linux 6.18 (tests/data/netlink/README.md), against what ss said of it."""

    def decoded(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        return decode_sockets(samples((DATA / "inet_diag.bin").read_bytes()))

    def test_the_unread_bytes_and_the_accept_queue(self) -> None:
        _, found = self.decoded()
        listener = found.row(by_predicate=pl.col("state") == "LISTEN", named=True)
        assert (listener["receive_queue"], listener["send_queue"]) == (1, 5)
        assert (listener["local_address"], listener["local_port"]) == ("127.0.0.1", 8000)
        unread = found.row(by_predicate=pl.col("cookie") == 0x102B, named=True)
        assert unread["receive_queue"] == 2300
        assert unread["receive_allocated_bytes"] == 3132
        assert unread["receive_buffer_bytes"] == 131072
        assert unread["send_buffer_bytes"] == 3939840
        assert unread["dropped_packets"] == 0
        assert unread["remote_port"] == 55872

    def test_tcp_info(self) -> None:
        found, _ = self.decoded()
        sender = found.row(by_predicate=pl.col("cookie") == 0x102C, named=True)
        expected = {
            "t_ns": 1050,
            "state": "ESTABLISHED",
            "congestion_state": "Open",
            "rto_ns": 204_000 * US,
            "rtt_ns": 21 * US,
            "rtt_variation_ns": 11 * US,
            "minimum_rtt_ns": 8 * US,
            "mss_bytes": 47104,
            "congestion_window_packets": 11,
            "bytes_sent": 2300,
            "bytes_acked": 2301,
            "bytes_received": 0,
            "send_window_bytes": 94208,
            "total_retransmissions": 0,
            "total_rto": 0,
        }
        assert {name: sender[name] for name in expected} == expected
        assert "LISTEN" not in found["state"].to_list()
        assert found.height == 4

    def test_every_field_that_ss_names_agrees(self) -> None:
        found, _ = self.decoded()
        said = {}
        for line in (DATA / "inet_diag.ss.txt").read_text().splitlines():
            words = dict(word.split(":", 1) for word in line.split() if ":" in word)
            said[int(words["sk"], 16)] = words
        for row in found.iter_rows(named=True):
            words = said[row["cookie"]]
            assert row["rto_ns"] == int(words["rto"]) * 1_000_000
            assert row["congestion_window_packets"] == int(words["cwnd"])
            assert row["send_window_bytes"] == int(words["snd_wnd"])
            assert row["rtt_ns"] == round(float(words["rtt"].split("/")[0]) * 1_000_000)
            assert row["bytes_received"] == int(words.get("bytes_received", 0))

    def test_a_shorter_tcp_info_leaves_none(self) -> None:
        """Linux 4.9 to 5.4 end before tcpi_bytes_sent or tcpi_snd_wnd: 192 bytes and more."""
        replies = [(DATA / "inet_diag.bin").read_bytes()]
        group = next(g for g in groups(replies, 20, 72) if 1 in g.number(17, 1))
        message = group.messages[group.number(17, 1) == 1][0].tobytes()
        start, length = group.attributes[(2,)]
        info = message[start : start + length]
        cut = netlink.message(20, message[16:88] + netlink.attribute(2, info[:192]))
        found, memory = decode_sockets(samples(cut + netlink.DONE))
        row = found.row(0, named=True)
        assert row["rto_ns"] > 0
        assert row["busy_ns"] is not None
        assert [row[name] for name in ("bytes_sent", "send_window_bytes", "total_rto")] == [
            None
        ] * 3
        assert memory["receive_allocated_bytes"].to_list() == [None]

    def test_many_replies_keep_their_times_and_nodes(self) -> None:
        reply = (DATA / "inet_diag.bin").read_bytes()
        mixed = Samples(["a", "b", "a"], [10, 20, 30], [10, 20, 30], [reply, netlink.DONE, reply])
        found, _ = decode_sockets(mixed)
        assert found.group_by("t_ns", "node").len().sort("t_ns").rows() == [
            (10, "a", 4),
            (30, "a", 4),
        ]

    @settings(max_examples=200, deadline=None)
    @given(
        cut=st.floats(0, 1),
        changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=5),
    )
    def test_any_damage_is_read_without_harm(
        self, cut: float, changes: list[tuple[float, int]]
    ) -> None:
        reply = bytearray((DATA / "inet_diag.bin").read_bytes())
        for place, value in changes:
            reply[int(place * (len(reply) - 1))] = value
        found, memory = decode_sockets(samples(bytes(reply[: int(cut * len(reply))])))
        assert found.height <= memory.height <= 20


class TestQdiscs:
    def test_23_drops_as_tc_says(self) -> None:
        names = decode_link_names(samples((DATA / "link_names.json").read_bytes()))
        found = decode_qdiscs(samples((DATA / "qdisc.bin").read_bytes()), names)
        said = json.loads((DATA / "qdisc.tc.json").read_text())
        assert found.height == len(said)
        for ours, theirs in zip(found.iter_rows(named=True), said, strict=True):
            assert ours["interface"] == theirs["dev"]
            assert ours["kind"] == theirs["kind"]
            assert ours["handle"] == theirs["handle"]
            assert ours["parent"] == theirs.get("parent", "root")
            assert ours["sent_bytes"] == theirs["bytes"]
            assert ours["sent_packets"] == theirs["packets"]
            assert ours["dropped_packets"] == theirs["drops"]
            assert ours["overlimits"] == theirs["overlimits"]
            assert ours["backlog_bytes"] == theirs["backlog"]
            assert ours["backlog_packets"] == theirs["qlen"]
        assert found.filter(pl.col("kind") == "pfifo")["dropped_packets"].to_list() == [23]

    def test_unknown_interfaces_have_their_number(self) -> None:
        found = decode_qdiscs(samples(netlink.qdisc(7, handle=0x10000, parent=0x2001F)), {})
        assert found["interface"].to_list() == ["#7"]
        assert found["parent"].to_list() == ["2:1f"]

    def test_names_that_are_no_json_are_left_out(self) -> None:
        assert decode_link_names(samples(b"{", b"[]", b'{"1": "lo"}')) == {"server": {1: "lo"}}

    @settings(max_examples=100, deadline=None)
    @given(data=st.binary(max_size=300), cut=st.floats(0, 1))
    def test_any_bytes_are_read_without_harm(self, data: bytes, cut: float) -> None:
        reply = (DATA / "qdisc.bin").read_bytes()
        decode_qdiscs(samples(reply[: int(cut * len(reply))] + data, data), {})


class TestCounters:
    snmp = (DATA / "snmp.txt").read_bytes()
    netstat = (DATA / "netstat.txt").read_bytes()

    def test_real_files(self) -> None:
        found = decode_tcp_counters(samples(self.snmp), samples(self.netstat))
        names = found["counter"].to_list()
        assert "Tcp.RetransSegs" in names
        assert "TcpExt.ListenOverflows" in names
        assert not any(name.startswith(("Ip", "Udp", "Icmp")) for name in names)
        ip = decode_ip(samples(self.snmp), samples(self.netstat)).row(0, named=True)
        assert ip["t_ns"] == 1050
        assert ip["in_receives"] > 0
        assert ip["in_checksum_errors"] == 0
        nic = decode_nic(samples((DATA / "dev.txt").read_bytes()))
        assert set(nic["interface"]) == {"lo", "va", "vb"}
        lo = nic.row(by_predicate=pl.col("interface") == "lo", named=True)
        assert lo["rx_packets"] == lo["tx_packets"] > 0

    def test_a_counter_is_written_when_it_changes_and_at_both_ends(self) -> None:
        texts = [
            f"TcpExt: A B\nTcpExt: {a} {b}\n".encode() for a, b in ((1, 5), (1, 5), (3, 5), (3, 5))
        ]
        found = decode_tcp_counters(samples(), samples(*texts))
        rows = found.select("t_ns", "counter", "value").rows()
        assert rows == [
            (1050, "TcpExt.A", 1),
            (1050, "TcpExt.B", 5),
            (3050, "TcpExt.A", 3),
            (4050, "TcpExt.A", 3),
            (4050, "TcpExt.B", 5),
        ]

    def test_a_kernel_without_ip_extensions(self) -> None:
        row = decode_ip(samples(self.snmp), samples()).row(0, named=True)
        assert row["in_ce_packets"] is None
        assert row["in_octets"] is None

    def test_a_run_over_ipv6_has_the_counters_of_ipv6(self) -> None:
        """Three pings to ::1: three requests and three replies, each sent and received."""
        text = (DATA / "snmp6.txt").read_bytes()
        (row,) = decode_ip(samples(self.snmp), samples(self.netstat), samples(text)).to_dicts()
        assert (row["in_receives"], row["in_delivers"], row["out_requests"]) == (6, 6, 6)
        assert (row["in_octets"], row["out_octets"]) == (6 * 104, 6 * 104)
        assert row["forwarded"] == row["out_no_routes"] == 0
        assert row["in_checksum_errors"] is None
        without_ip = text.replace(b"Ip6InReceives ", b"Ip7InReceives ")
        assert decode_ip(samples(), samples(), samples(without_ip)).height == 0

    @pytest.mark.parametrize("cut", range(0, 1200, 97))
    def test_cut_text_gives_what_is_whole(self, cut: int) -> None:
        decode_tcp_counters(samples(self.snmp[:cut]), samples(self.netstat[:cut]))
        decode_ip(samples(self.snmp[:cut]), samples())
        decode_nic(samples((DATA / "dev.txt").read_bytes()[:cut]))


class TestPhases:
    def test_a_new_connection_over_http2(self) -> None:
        """HTTP/2's steps have HTTP/1.1's names behind another prefix."""
        trace = [
            ("connection.connect_tcp.started", 110),
            ("connection.connect_tcp.complete", 150),
            ("http2.send_connection_init.started", 151),
            ("http2.send_connection_init.complete", 152),
            ("http2.send_request_headers.started", 160),
            ("http2.send_request_headers.complete", 165),
            ("http2.send_request_body.started", 165),
            ("http2.send_request_body.complete", 170),
            ("http2.receive_response_headers.started", 170),
            ("http2.receive_response_headers.complete", 200),
            ("http2.receive_response_body.started", 200),
            ("http2.receive_response_body.complete", 260),
        ]
        found = phases(100, None, trace)
        assert msgspec.structs.asdict(found) == {
            "pool_wait_ns": 10,
            "connect_ns": 40,
            "send_ns": 10,
            "first_byte_ns": 30,
            "receive_ns": 60,
        }

    def test_what_did_not_take_place_is_none(self) -> None:
        found = phases(
            100,
            None,
            [("connection.connect_tcp.started", 110), ("connection.connect_tcp.failed", 400)],
        )
        assert found.pool_wait_ns == 10
        assert found.connect_ns is None
        assert found.send_ns is None
        assert phases(100, None, []).pool_wait_ns is None
