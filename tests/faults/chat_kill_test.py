"""kill -9 of chat nodes and their tracker at random moments: nothing acknowledged is lost or doubled.

COHORT_SEED repeats a run."""
# deadline: 280

import json
import os
import random
import time

import chats
import roles
import testing

SEED = int(os.environ.get("COHORT_SEED", random.SystemRandom().randrange(10**6)))
print(f"# COHORT_SEED={SEED}", flush=True)
KILLS = int(os.environ.get("COHORT_KILLS", "100"))


def url(tracker):
    return tracker.http.removesuffix("/announce")


def acknowledged(chat):
    """Texts whose sending was confirmed: they are on the disk of the sender, whatever happens."""
    own = {one["id"]: one["text"] for one in chat.events("message") if one["own"]}
    return [own[one["id"]] for one in chat.answers("send") if one["event"] == "done" and one["id"] in own]


@testing.case(f"{KILLS} random kills of two nodes and a tracker lose and double no acknowledged message", deadline=260)
def _(t):
    chance = random.Random(SEED)
    tracker = roles.Tracker(t)
    people = {name: chats.Chat(t, name, url(tracker)) for name in ("alice", "bob")}
    other = {"alice": "bob", "bob": "alice"}
    for one in people.values():
        one.registered()
    people["alice"].ask("send", to="bob", text="first")
    sent = {"alice": [], "bob": []}
    number = 0
    for _ in range(KILLS):
        for _ in range(chance.randrange(1, 6)):
            name = chance.choice(["alice", "bob"])
            number += 1
            people[name].command("send", to=other[name], text=f"{name} {number}")
        time.sleep(chance.uniform(0, 0.06))  # the moment of the kill is what is drawn
        if chance.random() < 0.1:
            tracker.process.kill()
            tracker = roles.Tracker(t, port=tracker.port)
            continue
        name = chance.choice(["alice", "bob"])
        people[name].kill()
        sent[name] += acknowledged(people[name])
        people[name] = chats.Chat(t, name, url(tracker))
    for name, one in people.items():
        one.ready()
    last = {name: f"{name} at last" for name in people}
    for name, one in people.items():
        one.ask("send", timeout=60, to=other[name], text=last[name])
    for name, one in people.items():
        testing.until(lambda one=one: all(text in one.history(other[one.name]) for text in last.values()), 90,
                      f"{name} to hear the last")
    for name, one in people.items():
        sent[name] += acknowledged(one)
    histories = {name: one.history(other[name]) for name, one in people.items()}
    t.check(histories["alice"] == histories["bob"], "the two see different conversations")
    told = histories["alice"]
    t.check(len(set(told)) == len(told), "a message is there twice")
    for name, texts in sent.items():
        missing = [text for text in texts if text not in told]
        t.check(not missing, f"{len(missing)} acknowledged messages of {name} are lost, such as {missing[:3]}")
        mine = [text for text in told if text.startswith(name) or text == "first"]
        order = [text for text in mine if text in set(texts)]
        t.check(order == texts, f"{name}'s messages are out of order: {order} for {texts}")
    print(f"# {len(told)} messages, {sum(map(len, sent.values()))} acknowledged", flush=True)
    damaged = [event for one in people.values() for event in one.events("warning")]
    t.check(not damaged, json.dumps(damaged)[:300])


@testing.case("a room whose members are killed at random converges on one order, with all that was acknowledged",
              deadline=200)
def _(t):
    chance = random.Random(SEED + 1)
    tracker = roles.Tracker(t)
    names = ["alice", "bob", "carol"]
    people = {name: chats.Chat(t, name, url(tracker)) for name in names}
    for one in people.values():
        one.ready()
        one.ask("join", room="#lobby")
    sent = []
    for number in range(40):
        for name in names:
            people[name].command("send", to="#lobby", text=f"{name} {number}")
        time.sleep(chance.uniform(0, 0.1))  # the moment of the kill is what is drawn
        name = chance.choice(names)
        people[name].kill()
        sent += acknowledged(people[name])
        people[name] = chats.Chat(t, name, url(tracker))
    for name, one in people.items():
        one.ready()
        one.ask("send", to="#lobby", text=f"{name} at last")
        sent += acknowledged(one)

    def converged():
        histories = [one.history("#lobby") for one in people.values()]
        return histories[0] if histories[1:] == histories[:-1] and set(sent) <= set(histories[0]) else None

    told = testing.until(converged, 120, "one order of all")
    t.check(len(set(told)) == len(told), "a message is there twice")
    for name in names:
        numbers = [int(text.split()[1]) for text in told if text.startswith(name) and not text.endswith("last")]
        t.check(numbers == sorted(numbers), f"{name}'s messages are out of order: {numbers}")


testing.main()
