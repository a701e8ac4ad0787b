import tempfile
from pathlib import Path

import ledger
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medtk.reproduction import records

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    parameters=st.dictionaries(words, plain, max_size=4),
    deviations=st.lists(words, max_size=3),
    shape=st.tuples(st.integers(1, 40), st.integers(2, 7)),
    seed=st.integers(0, 2**31),
)
def test_what_is_written_is_read_and_verified(parameters, deviations, shape, seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, shape[1], shape[0])
    predictions = {key: random.dirichlet(np.ones(shape[1]), shape[0]) for key in ("clean", "epsilon=0.001")}
    with tempfile.TemporaryDirectory() as home:
        written = ledger.write(
            home,
            cells=[],
            parameters=parameters,
            deviations=deviations,
            seed=seed,
            labels=labels,
            predictions=predictions,
        )
        assert records.read_all(home) == [written]
        assert written["parameters"] == parameters
        assert written["deviations"] == deviations
        assert records.verify(home) == []
        stored = records.load_predictions(written, home)
        assert stored.keys() == {"labels", *predictions}
        assert np.array_equal(stored["labels"], labels)
        for key, value in predictions.items():
            assert np.array_equal(stored[key], value.astype(np.float16))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_any_altered_byte_of_the_predictions_is_noticed(data):
    with tempfile.TemporaryDirectory() as home:
        record = ledger.write(home)
        path = next(iter(Path(home).rglob("*.npz")))
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        problems = records.verify(home)
        assert len(problems) == 1
        assert record["predictions"]["file"] in problems[0]
