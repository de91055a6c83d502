from llmguard.cli.replay_view import print_live, side_by_side
from llmguard.replay.difference import Answer, ToolCall
from llmguard.replay.live import LiveReplay, Run
from llmguard.replay.stored import Stored


def an_answer(text, trace_id="t", **more):
    return Answer(trace_id, 200, None, (text,), **more)


def a_replay(then, *runs):
    return LiveReplay(Stored({"trace_id": "t"}, {}, {}, then), "chat@1", "remote", tuple(runs))


def test_lines_that_differ_stand_beside_each_other_with_a_mark():
    then, now = ["Same", "Old line", "Only then"], ["Same", "New line"]

    assert list(side_by_side(then, now, 23)) == [
        "Same         Same",
        "Old line   | New line",
        "Only then  <",
    ]
    assert list(side_by_side([], ["Only now"], 23)) == ["           > Only now"]


def test_long_lines_are_wrapped_and_empty_ones_kept():
    assert list(side_by_side(["one two", "", "three"], ["one two", "", "three"], 13)) == [
        "one     one",
        "two     two",
        "",
        "three   three",
    ]


def test_a_replay_is_shown_with_what_it_took_and_what_differs(capsys):
    then = an_answer("Hello", tool_calls=(ToolCall(0, "find", "{}"),), input_tokens=3)
    run = Run(an_answer("Bye", "u", input_tokens=4), "It was odd.", {"PERSON": 1})

    print_live(a_replay(then, run))

    said = capsys.readouterr().out
    assert said.startswith("t on remote under chat@1: different\n")
    assert "tokens in   3     4\n" in said
    assert "now: It was odd.\n" in said
    assert "now: today's redaction rules hid more of the stored request: PERSON=1\n" in said
    assert "calls find({})" in said


def test_of_many_runs_three_are_shown_with_the_rates_of_all(capsys):
    runs = [Run(an_answer(word), None, {}) for word in ("A", "B", "B", "B", "A")]

    print_live(a_replay(an_answer("A"), *runs))

    out, err = capsys.readouterr()
    assert "5 times: agreement 40%, stability 60%: different" in out
    assert "now 3" in out
    assert "now 4" not in out
    assert err == "The first 3 of 5 are shown; --json has all.\n"


def test_what_would_steer_a_terminal_is_not_printed(capsys):
    print_live(a_replay(an_answer("A"), Run(an_answer("\x1b[2J\x07B\tC"), None, {})))

    out = capsys.readouterr().out
    assert "\x1b[2J" not in out
    assert "\x07" not in out
    assert "\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}B" in out
