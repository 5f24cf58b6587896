import msgspec
import pytest

from diffcheck import process
from diffcheck.backend import registry
from diffcheck.backend.contract import Backend, Host, RunLimits
from diffcheck.observation import Crashed, HarnessFailed, Refused, Returned, TimedOut, Trapped
from diffcheck.probe import diagnose, engine_findings, installed_backends, programs, smoke


@pytest.fixture(scope="module")
def host():
    with process.private_folder() as folder, process.Reactor() as reactor:
        yield Host(reactor, folder)


@pytest.fixture(scope="module")
def wasmtime(host):
    backend = registry.create("wasmtime", {})
    yield backend
    backend.close()


class Liar(Backend):
    """An engine that is right but for what ``twist`` makes of its executions."""

    def __init__(self, honest, twist):
        self.honest, self.twist, self.capabilities = honest, twist, honest.capabilities

    def identity(self):
        return self.honest.identity()

    def start(self, program, limits, host):
        return Twisted(self.twist, program, self.honest.start(program, limits, host))


class Twisted:
    """An execution of the honest engine, and what is made of it."""

    def __init__(self, twist, program, pending):
        self.twist, self.program, self.pending = twist, program, pending

    def wait(self):
        return self.twist(self.program, self.pending.wait())


def test_wasmtime_gives_every_known_answer(wasmtime, host):
    asked = smoke(wasmtime, host)
    assert asked.problem == ""
    assert asked.checks == len(programs.ANSWERS) + len(programs.TRAPS) + 2


def test_wasmtime_has_no_weakness(wasmtime, host):
    assert engine_findings(wasmtime, host) == ()


@pytest.mark.parametrize("at", range(len(programs.ANSWERS)), ids=[answer.what for answer in programs.ANSWERS])
def test_one_wrong_bit_in_any_answer_is_seen(wasmtime, host, at):
    def twist(_, execution):
        if not execution.counters:
            return execution
        return msgspec.structs.replace(execution, counters=execution.counters | {at: execution.counters[at] ^ 1 << 40})

    assert smoke(Liar(wasmtime, twist), host).problem.startswith(programs.ANSWERS[at].what)


def test_a_wrong_trap_is_seen(wasmtime, host):
    def twist(_, execution):
        trapped = isinstance(execution.outcome, Trapped)
        return msgspec.structs.replace(execution, outcome=Trapped("unknown", "oops")) if trapped else execution

    assert "must trap (unreachable)" in smoke(Liar(wasmtime, twist), host).problem


def test_a_wrong_byte_in_the_stream_is_seen(wasmtime, host):
    def twist(program, execution):
        if program.kind == "direct":
            return execution
        carried = bytearray(execution.carried)
        carried[-1] ^= 1
        return msgspec.structs.replace(execution, carried=bytes(carried))

    assert "digest" in smoke(Liar(wasmtime, twist), host).problem


def test_an_engine_that_takes_everything_has_every_weakness(wasmtime, host):
    takes_all = Liar(wasmtime, lambda _, execution: msgspec.structs.replace(execution, outcome=Returned()))
    assert [each.name for each in engine_findings(takes_all, host)] == [each.name for each in programs.WEAKNESSES]


def test_an_export_limit_is_found(wasmtime, host):
    def twist(program, execution):
        large = len(program.wasm) >= len(programs.exports(257))
        return msgspec.structs.replace(execution, outcome=Refused("load")) if large else execution

    (finding,) = engine_findings(Liar(wasmtime, twist), host)
    assert finding.name == "export limit"
    assert "256 is accepted" in finding.what


def test_every_installed_backend_is_listed_with_what_it_lacks():
    found = {each.name: each for each in installed_backends({"kilnd": "/no/such/kilnd"})}
    assert found["wasmtime"].identity is not None
    assert found["kilnd"].problem
    assert found["kilnd"].hint
    assert found["wasi"].problem


def test_an_unknown_backend_is_told_as_such(host):
    (diagnosis,) = diagnose(("nope",), {}, RunLimits())
    assert diagnosis.named
    assert "no backend" in diagnosis.problem


def test_an_engine_that_always_hangs_is_asked_twice_and_one_that_hangs_once_is_unknown_there(wasmtime, host):
    asked = []

    def always(program, execution):
        asked.append(program)
        return msgspec.structs.replace(execution, outcome=TimedOut(10.0))

    def once(program, execution):
        return (
            msgspec.structs.replace(execution, outcome=TimedOut(10.0)) if program.wasm == programs.WEAKNESSES[0].wasm else execution
        )

    assert engine_findings(Liar(wasmtime, always), host) == ()
    assert len(asked) == 2
    (finding,) = engine_findings(Liar(wasmtime, once), host)
    assert finding.name == programs.WEAKNESSES[0].name
    assert finding.what.startswith("unknown whether a module instantiates")
    assert "timed out" in finding.what


@pytest.mark.parametrize("outcome", [HarnessFailed("no answer"), Crashed(11), TimedOut(1.0)])
def test_only_what_ran_has_instantiated(outcome, wasmtime, host):
    def answer(program, execution):
        weak = program.wasm in [each.wasm for each in programs.WEAKNESSES]
        return msgspec.structs.replace(execution, outcome=outcome) if weak else execution

    findings = engine_findings(Liar(wasmtime, answer), host)
    assert [each.what.startswith("unknown whether ") for each in findings] == [True] * len(programs.WEAKNESSES)
