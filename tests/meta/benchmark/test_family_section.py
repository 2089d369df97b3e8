from meta.algorithms import Algorithm
from meta.benchmark.family import Found, findings


def test_adaptation_has_to_beat_start_and_control_in_the_time_allowed():
    found = {
        Algorithm.MAML: Found(10.0, 5.0, 5.1, 5.2),
        Algorithm.ANIL: Found(10.0, 5.0, 5.1, 4.9),
        Algorithm.META_SGD: Found(130.0, 5.0, 5.1, 5.2),
        Algorithm.PROTOTYPE: Found(10.0, 5.0, 5.1, None),
    }
    lines = findings([found]).lines
    assert [line.holds for line in lines] == [True, False, False, True]
