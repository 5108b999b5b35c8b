"""What is asked, what is answered, and how a wrong request is told its place."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from server_harness import RunningServer, get, post, scaler, serving

from rlcl.deploy.bundle import Bundle
from rlcl.deploy.client import Client, ClientError
from rlcl.deploy.deployment import Deployment
from rlcl.deploy.log import RequestLog


def test_classes_are_answered_by_number_name_and_probability(server: RunningServer, client: Client) -> None:
    answer = client.predict([[1.0, 3.0, 0.0], [2.0, 2.0, 5.0], [0.0, -1.0, 0.0]])
    assert [1, 0, 0] == answer["class"]
    assert ["one", "zero", "zero"] == answer["names"]
    assert np.allclose([1 / (1 + np.e**2), 0.5, 1 / (1 + np.e**-1)], np.array(answer["probabilities"])[:, 0])
    assert Bundle.open(server.bundle).digest == answer["bundle"]
    assert 3 == len(set(answer["ids"]))


def test_arrays_are_sent_as_lists(client: Client) -> None:
    assert [1] == client.predict(np.array([[0.0, 1.0, 0.0]]))["class"]
    assert [1] == client.predict([np.array([0.0, 1.0, 0.0])])["class"]


def test_several_inputs_and_a_task_go_by_name(tmp_path: Path) -> None:
    with serving(scaler(tmp_path / "scaler")) as server, Client(server.url) as client:
        inputs = {"left": [[1.0, 2.0], [0.0, 0.0]], "right": [[10.0, 20.0], [5.0, 6.0]]}
        assert [[13.0, 24.0], [7.0, 8.0]] == client.predict(inputs, task_id=2)["value"]
        with pytest.raises(ClientError, match=r"body\.task_id: expected a whole number from 0 to 2, got 3"):
            client.predict(inputs, task_id=3)
        with pytest.raises(ClientError, match=r"body\.inputs\.right\.1\.0: expected a number, got null"):
            client.predict({**inputs, "right": [[1, 2], [None, 2]]}, task_id=0)
        with pytest.raises(
            ClientError, match=r"body\.inputs: expected the same number of rows in every input, got 1, 2"
        ):
            client.predict({**inputs, "right": [[1, 2]]}, task_id=0)
        with pytest.raises(
            ClientError, match=r"body\.inputs: expected arrays named left, right; got arrays named left"
        ):
            client.predict({"left": [[1, 2]]}, task_id=0)
        made = client.predict(inputs, task_id=1)["ids"][0]
        assert {"kept": [made]} == client.feedback(made, value=[1.0, 2.0])
        with pytest.raises(ClientError, match=r"body\.0\.value: expected a list of 2"):
            client.feedback(made, value=1.0)


def test_a_policy_hands_its_state_on(policy: RunningServer) -> None:
    with Client(policy.url) as client:
        first = client.act([[0.5, -2.0], [1.0, 2.0]])
        assert [0, 1] == first["action"]
        assert {"sum": [-1.5, 3.0]} == first["state"]
        second = client.act([[1.0, 1.0], [-1.0, -2.0]], first["state"])
        assert [1, 0] == second["action"]
        assert {"kept": [first["ids"][0]]} == client.feedback(first["ids"][0], reward=-1.0)


def test_the_episodes_of_observations_are_in_the_log(policy: RunningServer) -> None:
    with Client(policy.url) as client:
        told = client.act([[0, 1], [0, 0]], episodes=["a", "b"])
        untold = client.act([[0, 1]])
        client.feedback(untold["ids"][0], reward=1.0)  # by when all is in the log
    with closing(RequestLog.open(Deployment(policy.bundle).log)) as log:
        numbers = {id: number for number, id in log.connection.execute("select number, id from requests")}
        episodes = [next(iter(log.pages(numbers[id] - 1, 1))).episodes for id in (*told["ids"], *untold["ids"])]
    assert [["a"], ["b"], [None]] == episodes


@pytest.mark.parametrize(
    ("episodes", "place", "message"),
    [
        ('["a"]', ["episodes"], "expected a list of 2, the name of each observation's episode"),
        ('"ab"', ["episodes"], "expected a list of 2"),
        ('["a", 7]', ["episodes", 1], "expected the name of an episode, a text of 1 to 100 characters"),
        ('["", "a"]', ["episodes", 0], "expected the name of an episode"),
    ],
)
def test_episodes_that_are_none_are_told_their_place(
    policy: RunningServer, episodes: str, place: list[Any], message: str
) -> None:
    body = f'{{"observations": [[0, 0], [0, 0]], "episodes": {episodes}}}'
    status, answer = post(f"{policy.url}/act", body.encode())
    (only,) = answer["detail"]
    assert (422, ["body", *place]) == (status, only["loc"])
    assert message in only["msg"]


def test_an_unknown_key_of_a_policy_is_named_with_what_is_allowed(policy: RunningServer) -> None:
    status, answer = post(f"{policy.url}/act", b'{"observation": [[0, 0]]}')
    (only,) = answer["detail"]
    assert (422, ["body", "observation"]) == (status, only["loc"])
    assert "unknown key 'observation'; allowed: observations, state, episodes" == only["msg"]


@pytest.mark.parametrize(
    ("state", "place", "message"),
    [
        ({"sum": [1.0]}, ["state", "sum"], "expected a list of 2"),
        ({"other": [1.0, 2.0]}, ["state"], "expected an object with the keys sum"),
        ({"sum": [1.0, "x"]}, ["state", "sum", 1], 'expected a number, got "x"'),
        (3, ["state"], "expected an object with the keys sum"),
    ],
)
def test_a_state_that_is_none_is_told_its_place(
    policy: RunningServer, state: Any, place: list[Any], message: str
) -> None:
    with Client(policy.url) as client, pytest.raises(ClientError) as raised:
        client.act([[0, 0], [0, 0]], state)
    (only,) = raised.value.detail
    assert ["body", *place] == only["loc"]
    assert message in only["msg"]


@pytest.mark.parametrize(
    ("body", "place", "message", "value"),
    [
        (b'{"inputs": [[1, 2, 3], [1, NaN, 3]]}', ["inputs", 1, 1], "expected a finite number, got nan", None),
        (b'{"inputs": [[1, 2, -Infinity]]}', ["inputs", 0, 2], "expected a finite number, got -inf", None),
        (b'{"inputs": [[1, 2, 10.5]]}', ["inputs", 0, 2], "expected at most 10, got 10.5", 10.5),
        (b'{"inputs": [[1, 2, -11]]}', ["inputs", 0, 2], "expected at least -10, got -11.0", -11.0),
        (b'{"inputs": [[1, 2]]}', ["inputs", 0], "expected a list of 3, got a list of 2", None),
        (b'{"inputs": [[1, 2, 3], 7]}', ["inputs", 1], "expected a list of 3, got 7", 7),
        (b'{"inputs": [[1, 2, "3"]]}', ["inputs", 0, 2], 'expected a number, got "3"', "3"),
        (b'{"inputs": [[1, 2, [3]]]}', ["inputs", 0, 2], "expected a number, got a list of 1", None),
        (b'{"inputs": []}', ["inputs"], "expected a list of at least one row", None),
        (b'{"inputs": 3}', ["inputs"], "expected a list of at least one row", 3),
        (b'{"inputs": {}}', ["inputs"], "expected a list of at least one row", None),
        (
            b'{"inputs": {"other": [[1, 2, 3]]}}',
            ["inputs"],
            "expected arrays named input; got arrays named other",
            None,
        ),
        (b'{"inputs": [[1, 2, 3]], "task_id": 0}', ["task_id"], "unknown key 'task_id'; allowed: inputs", None),
        (b'{"input": [[1, 2, 3]]}', ["input"], "unknown key 'input'; allowed: inputs", None),
        (b'{"episodes": ["a"]}', ["episodes"], "unknown key 'episodes'; allowed: inputs", None),
        (b'{"\\ud800": NaN}', ["?"], "unknown key '?'; allowed: inputs", None),
        (b"{}", ["inputs"], "missing; expected a list of inputs", None),
        (b"[[1, 2, 3]]", [], "expected an object with the key inputs", None),
        (b'{"inputs": [[1, 2, 3]', [], "expected JSON: ", None),
        (b"", [], "expected JSON: ", None),
        (b"\xff\xfe", [], "expected JSON: ", None),
        (b"[" * 5000, [], "expected JSON: ", None),
        (b"[" * 5000 + b"NaN", [], "expected JSON: ", None),
    ],
)
def test_a_wrong_request_is_told_its_place(
    server: RunningServer, body: bytes, place: list[Any], message: str, value: Any
) -> None:
    status, answer = post(f"{server.url}/predict", body)
    assert 422 == status
    (only,) = answer["detail"]
    assert ["body", *place] == only["loc"]
    assert message in only["msg"]
    assert value == only["input"]


def test_a_long_value_is_not_told_back(server: RunningServer) -> None:
    status, answer = post(f"{server.url}/predict", b'{"inputs": [[1, 2, "' + b"x" * 5000 + b'"]]}')
    assert 422 == status
    assert answer["detail"][0]["input"] is None
    assert len(answer["detail"][0]["msg"]) < 100


def test_paths_methods_and_types_are_told_apart(server: RunningServer) -> None:
    fine = b'{"inputs": [[1, 2, 3]]}'
    assert 200 == post(f"{server.url}/predict", fine, Content_Type="application/json; charset=utf-8")[0]
    assert 415 == post(f"{server.url}/predict", fine, Content_Type="text/plain")[0]
    assert (405, b'{"detail":"Method Not Allowed"}') == get(f"{server.url}/predict")
    assert 404 == get(f"{server.url}/nothing")[0]
    status, answer = post(f"{server.url}/act", fine)
    assert 404 == status
    assert "this bundle is not a policy but of kind classifier; use POST /predict" == answer["detail"]


def test_feedback_of_a_fresh_answer_is_in_the_log(server: RunningServer, client: Client) -> None:
    (made,) = client.predict([[4.0, 2.0, 0.0]])["ids"]
    assert {"kept": [made]} == client.feedback(made, label="never seen")
    log = RequestLog.open(Deployment(server.bundle).log)
    found = [
        (page.inputs["input"][i].tolist(), page.outputs["class"][i], page.feedback[i])
        for page in log.pages(feedback_after=0)
        for i in range(len(page.numbers))
    ]
    log.close()
    assert ([4.0, 2.0, 0.0], 0, "never seen") in found


def test_unknown_ids_are_named_and_the_others_kept(client: Client) -> None:
    (made,) = client.predict([[4.0, 2.0, 0.0]])["ids"]
    with pytest.raises(ClientError, match=r"404: body\.1\.id: unknown id") as raised:
        client.feedbacks([{"id": made, "label": "one"}, {"id": "nobody", "label": "one"}])
    assert "nobody" == raised.value.detail[0]["input"]


def test_one_feedback_needs_no_list(server: RunningServer, client: Client) -> None:
    (made,) = client.predict([[4.0, 2.0, 0.0]])["ids"]
    assert (200, {"kept": [made]}) == post(f"{server.url}/feedback", f'{{"id": "{made}", "label": "one"}}'.encode())
    status, answer = post(f"{server.url}/feedback", b'{"id": "nobody", "label": "one"}')
    assert 404 == status
    assert [] == answer["kept"]
    assert ["body", "id"] == answer["detail"][0]["loc"]


@pytest.mark.parametrize(
    ("item", "place", "message"),
    [
        (b'{"id": "a", "label": 7}', ["label"], "expected a class's name, a text of 1 to 100 characters"),
        (b'{"id": "a", "label": ""}', ["label"], "expected a class's name"),
        (b'{"id": "a", "label": "' + b"x" * 101 + b'"}', ["label"], "expected a class's name"),
        (b'{"id": 1, "label": "a"}', ["id"], "expected an id"),
        (b'{"label": "a"}', ["id"], "missing; expected the keys id and label"),
        (b'{"id": "a", "reward": 1}', ["reward"], "unknown key 'reward'; allowed: id, label"),
        (b'{"id": "a", "label": "b", "x": 1}', ["x"], "unknown key 'x'; allowed: id, label"),
        (b'[{"id": "a", "label": "b"}, {"id": "a", "labels": "b"}]', [1, "labels"], "unknown key 'labels'"),
        (b'{"id": "a"}', ["label"], "missing; expected the keys id and label"),
        (b"[]", [], "expected at least one item of feedback"),
        (b"7", [], "expected an object with the keys id and label"),
        (b'[{"id": "a", "label": "b"}, 7]', [1], "expected an object with the keys id and label"),
    ],
)
def test_wrong_feedback_is_told_its_place(server: RunningServer, item: bytes, place: list[Any], message: str) -> None:
    status, answer = post(f"{server.url}/feedback", item)
    assert 422 == status
    assert ["body", *place] == answer["detail"][0]["loc"]
    assert message in answer["detail"][0]["msg"]


def test_a_reward_is_a_finite_number(policy: RunningServer) -> None:
    for wrong in (b"NaN", b"true", b'"1"', b"null", b"[1]"):
        status, answer = post(f"{policy.url}/feedback", b'{"id": "a", "reward": ' + wrong + b"}")
        assert (422, ["body", "reward"]) == (status, answer["detail"][0]["loc"]), wrong
