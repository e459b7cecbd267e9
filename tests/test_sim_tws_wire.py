"""The simulated TWS on the wire: frames, fields, handshake, client ids, the message rate, broken requests."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import brokersim
import brokersim.client
from brokersim.half import BadCall
from brokersim.tws.framing import (
    MAX_DOUBLE,
    MAX_PAYLOAD,
    FieldError,
    FrameError,
    Frames,
    Reader,
    encode,
    fields_of,
    frame,
)
from brokersim.tws.names import REQUESTS
from brokersim.tws.rate import MessageRate
from tests.sim_tws_client import AAPL, RawClient, connected, details_request, framed, market_data_request


@pytest.fixture(scope="module")
def sim() -> Iterator[brokersim.Simulation]:
    with brokersim.running(vbrokers=False, tws=True) as running:
        running.pause()
        yield running


@pytest.fixture
def tws(sim: brokersim.Simulation) -> str:
    assert sim.tws_address is not None
    return sim.tws_address


# -- frames and fields -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "text"),
    [
        (True, b"1"),
        (False, b"0"),
        (None, b""),
        (7, b"7"),
        (-1, b"-1"),
        (Decimal("1E-5"), b"0.00001"),
        (Decimal("120"), b"120"),
        (0.5, b"0.5"),
        ("a\0b", b"ab"),
        ("腾讯", rb"\u817e\u8baf"),
        ("😀", rb"\ud83d\ude00"),
        ("line\nline", b"line\nline"),
    ],
)
def test_fields_are_written_as_ascii(field: object, text: bytes) -> None:
    assert encode(field) == struct.pack(">I", len(text) + 1) + text + b"\0"  # type: ignore[arg-type] # one of each kind


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(1, 30), min_size=1))
@settings(max_examples=60)
def test_frames_come_whole_however_the_stream_is_cut(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(frame, payloads))
    frames, got, index = Frames(), [], 0
    while stream:
        cut = cuts[index % len(cuts)]
        got += frames.feed(stream[:cut])
        stream = stream[cut:]
        index += 1
    assert got == payloads


def test_a_frame_too_long_is_an_error() -> None:
    assert Frames().feed(struct.pack(">I", MAX_PAYLOAD)) == []
    with pytest.raises(FrameError):
        Frames().feed(struct.pack(">I", MAX_PAYLOAD + 1))


@pytest.mark.parametrize("text", ["", MAX_DOUBLE, "1.7976931348623157e+308", "9223372036854775807"])
def test_both_forms_of_unset_decimals(text: str) -> None:
    assert Reader([text]).decimal("lmtPrice") is None


@pytest.mark.parametrize("text", ["", "2147483647", "9223372036854775807", MAX_DOUBLE])
def test_both_forms_of_unset_integers(text: str) -> None:
    assert Reader([text]).integer("duration", -5) == -5


@pytest.mark.parametrize("text", ["Infinite", "Infinity"])
def test_infinity_of_both_clients(text: str) -> None:
    assert Reader([text]).decimal("offset") == Decimal("Infinity")


@pytest.mark.parametrize("text", ["x", "nan", "1e999999999", "1.5", "--1"])
def test_what_is_no_integer_names_its_field(text: str) -> None:
    with pytest.raises(FieldError, match="clientId"):
        Reader([text]).integer("clientId")


@given(st.lists(st.text(max_size=12), max_size=6), st.data())
@settings(max_examples=80)
def test_a_reader_answers_or_names_the_field(fields: list[str], data: st.DataObject) -> None:
    reader, named = Reader(fields), []
    for _ in range(len(fields) + 1):
        kind = data.draw(st.sampled_from(["text", "integer", "decimal", "flag", "count", "pairs"]))
        try:
            getattr(reader, kind)("wanted")
        except FieldError as error:
            named.append(error.field)
    assert set(named) <= {"wanted"}
    assert 0 <= reader.position <= len(fields)


def test_an_encoded_message_reads_back() -> None:
    data = encode(9, 1, "x", None, Decimal("1.50"))
    assert fields_of(data[4:]) == ["9", "1", "x", "", "1.50"]


def test_rate_counts_the_last_second() -> None:
    rate = MessageRate()
    assert [rate.exceeds(0.01 * step, 5) for step in range(6)] == [0, 0, 0, 0, 0, 6]
    assert rate.exceeds(2.0, 5) == 0
    assert rate.over_for() == 0.0


def test_rate_tells_how_long_it_has_been_too_high() -> None:
    rate = MessageRate()
    for step in range(400):
        rate.exceeds(0.01 * step, 50)
    assert rate.over_for() == pytest.approx(3.49)


# -- handshake and client ids ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("versions", "answer"),
    [("v157..178", "178"), ("v100..223", "178"), ("v157..170", "170"), ("v178", "178"), ("v100..200 +PACEAPI", "178")],
)
def test_version_answer(tws: str, versions: str, answer: str) -> None:
    with RawClient(tws) as client:
        fields = client.shake_hands(versions)
        assert fields[0] == answer
        assert len(fields) == 2
        assert fields[1].endswith(" EST")


@pytest.mark.parametrize("versions", ["v100..156", "v179..223", "nonsense", ""])
def test_versions_that_cannot_be_met_end_the_connection(tws: str, versions: str) -> None:
    with RawClient(tws) as client, pytest.raises((EOFError, ConnectionError)):
        client.shake_hands(versions)


def test_a_connection_that_does_not_begin_with_api_ends(tws: str) -> None:
    with RawClient(tws) as client:
        client.socket.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.is_closed()


def test_an_oversized_frame_ends_the_connection(tws: str) -> None:
    with connected(tws) as client:
        client.socket.sendall(b"\x7f\xff\xff\xff")
        assert client.is_closed()


def test_handshake_in_single_bytes(tws: str) -> None:
    with RawClient(tws) as client:
        for byte in b"API\0" + struct.pack(">I", 9) + b"v157..178":
            client.socket.sendall(bytes([byte]))
        assert client.read()[0] == "178"


def test_nothing_comes_before_start_api_and_then_the_welcome(tws: str) -> None:
    with RawClient(tws) as client:
        client.shake_hands()
        client.send(49, 1)
        client.send(71, 2, 5, "")
        messages = [client.read() for _ in range(5)]
    assert [message[0] for message in messages] == ["15", "9", "4", "4", "4"]
    assert messages[0] == ["15", "1", "DU1000001,DU1000002,DU1000003,"]
    assert messages[1][:2] == ["9", "1"]
    assert int(messages[1][2]) >= 1
    assert [message[3] for message in messages[2:]] == ["2104", "2106", "2158"]


def test_a_client_id_in_use_is_refused_and_the_first_stays(tws: str) -> None:
    with connected(tws, 3) as first, RawClient(tws) as second:
        second.shake_hands()
        second.send(71, 2, 3, "")
        assert second.error()[:2] == (-1, 326)
        assert second.is_closed()
        assert first.ping() == []
    with connected(tws, 3) as again:
        assert again.ping() == []


def test_start_api_twice_is_told(tws: str) -> None:
    with connected(tws) as client:
        client.send(71, 2, 1, "")
        assert client.error()[:2] == (-1, 501)


# -- requests --------------------------------------------------------------------------------------------------


def test_current_time_is_the_simulators(sim: brokersim.Simulation, tws: str) -> None:
    with connected(tws) as client:
        client.send(49, 1)
        fields = client.read()
        assert fields[:2] == ["49", "1"]
        assert abs(int(fields[2]) - sim.clock().timestamp()) < 5


def test_small_session_requests(tws: str) -> None:
    with connected(tws, 77) as client:
        client.send(8, 1, 1)
        assert client.read() == ["9", "1", "1"]
        client.send(17, 1)
        assert client.read() == ["15", "1", "DU1000001,DU1000002,DU1000003,"]
        client.send(80)
        assert client.read() == ["78", "3", "DU1000001", "", "DU1000002", "", "DU1000003", ""]
        client.send(104, 6)
        assert client.read() == ["107", "6", ""]
        client.send(18, 1, 1)
        assert client.error()[:2] == (-1, 321)
        client.send(19, 1, 1, "<xml/>", 8)
        assert client.error()[:2] == (8, 321)
        client.send(14, 1, 5)
        assert client.ping() == []
        client.send(14, 1, 9)
        assert client.error()[:2] == (-1, 319)


def test_every_request_of_the_table_is_answered_by_somebody(tws: str) -> None:
    with connected(tws, 78) as client:
        for message in REQUESTS:
            client.send(message)
        assert [row for row in client.ping() if row[0] == "4" and row[3] in ("323", "505")] == []


def test_unknown_messages_are_told(tws: str) -> None:
    with connected(tws) as client:
        for message in (12345, "x", "", "²"):
            client.socket.sendall(frame(f"{message}\0 1\0".encode()))
            assert client.error()[1] == 505


@pytest.mark.parametrize(
    "fields",
    [(9, 8, "x"), (1, 11, 7, "notanumber"), (20, 3, "0", "AAPL"), (3,), (59, 1, "many"), (62, 1), (97, "7", "0")],
)
def test_malformed_fields_are_told_by_name(tws: str, fields: tuple[object, ...]) -> None:
    with connected(tws) as client:
        client.send(*fields)
        _, code, text = client.error()
        assert code == 320
        assert "field" in text
        assert client.ping() == []


@pytest.fixture(scope="module")
def victim() -> Iterator[RawClient]:
    """A client that sends nonsense, at any rate."""
    switches = {"tws.message_rate": 0, "tws.market_data_lines": 100_000}
    with brokersim.running(vbrokers=False, tws=True, switches=switches) as sim:
        sim.pause()
        assert sim.tws_address is not None
        with connected(sim.tws_address) as client:
            yield client


@given(
    fields=st.lists(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=8), min_size=0, max_size=30)
)
@settings(max_examples=60, deadline=None)
def test_no_message_ends_the_connection(victim: RawClient, fields: list[str]) -> None:
    for message in (1, 3, 4, 7, 9, 10, 20, 50, 54, 62, 76, 87, 96, 97):
        victim.socket.sendall(framed(message, *fields))
    assert not any(message[0] == "4" and message[3] == "323" for message in victim.ping())


def test_too_many_messages_in_a_second_are_refused(sim: brokersim.Simulation, tws: str) -> None:
    """One burst of a few must do: where the simulator itself stood still on a loaded machine it refuses nothing."""
    refused = []
    for client_id in range(9, 14):
        with connected(tws, client_id) as client:
            client.socket.sendall(framed(49, 1) * 80)
            messages = [client.read() for _ in range(80)]
            codes = [message[3] for message in messages if message[0] == "4"]
        assert set(codes) <= {"100"}
        refused.append(len(codes))
        if 25 <= len(codes) <= 31:
            return
    raise AssertionError(f"refused of 80 messages: {refused}")


def test_wire_counts_by_name(tws: str, sim: brokersim.Simulation) -> None:
    before = sim.wire()["tws"]
    with connected(tws) as client:
        client.send(*details_request(1, AAPL))
        client.until_id(52)
        client.send(*market_data_request(2, AAPL))
        client.until_id(58)
        client.send(777, 1)
        client.error()
    after = sim.wire()["tws"]
    grown = {name: count - before.get(name, 0) for name, count in after.items() if count != before.get(name, 0)}
    assert grown == {"startApi": 1, "reqContractDetails": 1, "reqMktData": 1, "777": 1}


# -- switches and running --------------------------------------------------------------------------------------


def test_switches_of_both_brokers() -> None:
    switches = {"tws.accounts": 1, "omit_zeros": False}
    with brokersim.running(tws=True, switches=switches) as both:
        assert both.vbrokers_url is not None
        assert both.tws_address is not None
        standing = both.switches()
        assert (standing["tws.accounts"], standing["omit_zeros"]) == (1, False)
        assert both.switches(**{"tws.farm_notices": False})["tws.farm_notices"] is False
        with pytest.raises(brokersim.client.ControlError, match="unknown switch"):
            both.switches(**{"tws.nonsense": 1})
        with RawClient(both.tws_address) as client:
            client.shake_hands()
            client.send(71, 2, 1, "")
            assert client.read() == ["15", "1", "DU1000001"]
            assert client.read()[0] == "9"
            assert client.ping() == []


def test_running_alone_has_no_tws() -> None:
    with brokersim.running() as alone:
        assert alone.tws_address is None
        with pytest.raises(brokersim.client.ControlError, match="no broker 'tws'"):
            alone.switches(**{"tws.accounts": 1})


def test_opening_positions_of_an_unknown_account_are_refused() -> None:
    row = {"broker": "tws", "account": "DU9", "vt_symbol": "AAPL.SMART", "volume": 1, "price": "1"}
    with pytest.raises(BadCall, match="DU9"), brokersim.running(tws=True, positions=[row]):
        raise AssertionError("it must not run")
