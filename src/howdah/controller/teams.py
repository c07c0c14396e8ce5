"""What the teams API said last of each team: asked beside the passes, remembered, and kept when it does not answer.

An answer holds for `ANSWER_HOLDS_S`, however many clusters ask; a pass that comes later takes it nevertheless, and is
asked for again where the next one differs. Without an answer it is tried again every `RETRY_S`. After a restart nothing is
known until the API answers: nobody is dropped for that. A team that the API does not know is taken for absent when it says so
a second time, knows others meanwhile, and never knew this one: until then it may be a wrong address, or a gap in its data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import structlog

from howdah.adapters.teams import TeamsApi
from howdah.kube.errors import KubeError
from howdah.kube.informer import Key
from howdah.model.errors import ExternalError
from howdah.model.postgres.people import Membership
from howdah.model.teams import Teams

ANSWER_HOLDS_S = 300.0
RETRY_S = 60.0
DENIALS = 2
FIRST_ANSWER_S = 2.0  # so long a pass waits for a first answer, so that most clusters are made in one go

_log = structlog.get_logger("howdah.teams")


@dataclass(slots=True)
class _Known:
    """Of one team. `members` is None where the API knows no such team."""

    has_answer: bool = False
    members: tuple[str, ...] | None = None
    error: str | None = None
    answered_at: float = float("-inf")  # seconds of the loop's clock
    was_known: bool = False
    denials: int = 0
    denied_at: float = float("-inf")  # when it was denied first
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    askers: set[Key] = field(default_factory=set)

    def take(self, members: tuple[str, ...] | None, now_s: float) -> None:
        """What the API answers."""
        self.has_answer, self.members, self.error, self.answered_at = True, members, None, now_s
        if members is not None:
            self.was_known = True
            return
        self.denials += 1
        if self.denials == 1:
            self.denied_at = now_s

    @property
    def says(self) -> tuple[object, ...]:
        """What clusters hear of when it becomes another."""
        return self.has_answer, self.members, self.error, self.denials >= DENIALS

    def is_absent(self, others: Iterable[_Known]) -> bool:
        """Whether there is no such team, and not just a failure that looks like it."""
        is_denied = self.members is None and not self.was_known and self.denials >= DENIALS
        return is_denied and any(one.members is not None and one.answered_at >= self.denied_at for one in others)


class Directory:
    """Belongs to one event loop. `token` reads the token of the API; `notify` hears of clusters with news.

    `first_answer_s`: how long a first answer is waited for.
    """

    def __init__(
        self,
        api: TeamsApi,
        *,
        token: Callable[[], Awaitable[str]],
        notify: Callable[[Key], None],
        holds_s: float = ANSWER_HOLDS_S,
        retry_s: float = RETRY_S,
        first_answer_s: float = FIRST_ANSWER_S,
    ) -> None:
        self._api = api
        self._holds_s = holds_s
        self._retry_s = retry_s
        self._first_answer_s = first_answer_s
        self._token = token
        self._notify = notify
        self._known: dict[str, _Known] = {}
        self._asked: dict[Key, tuple[str, ...]] = {}

    async def of(self, key: Key, teams: tuple[str, ...]) -> Membership:
        """What is known of `teams` for the cluster `key`. Waits for a first answer only, and not long."""
        self._register(key, teams)
        found = [(team, self._known[team]) for team in teams]
        for team, known in found:
            self._ask_if_due(team, known)
        new = [asyncio.ensure_future(known.tried.wait()) for _, known in found if not known.tried.is_set()]
        if new:
            _, late = await asyncio.wait(new, timeout=self._first_answer_s)
            for waiting in late:
                waiting.cancel()
        return Membership(
            Teams(),
            {team: known.members for team, known in found if known.members is not None},
            frozenset(team for team, known in found if known.has_answer and known.members is None),
            frozenset(team for team, known in found if known.is_absent(self._known.values())),
            tuple(_problem(team, known) for team, known in found if _is_doubtful(known)),
            is_complete=all(known.has_answer for _, known in found),
        )

    def problems(self) -> tuple[str, ...]:
        """Of every team that was asked for: why it is not known, or may be out of date."""
        return tuple(_problem(team, known) for team, known in sorted(self._known.items()) if _is_doubtful(known))

    def forget(self, key: Key) -> None:
        """The cluster is gone; a team that nobody asks for is forgotten, too."""
        self._register(key, ())
        self._asked.pop(key, None)

    def try_again(self) -> None:
        """Something has changed that may let the API answer: do not wait for the next try."""
        for known in self._known.values():
            if known.error is not None and known.task is not None:
                known.task.cancel()
                known.task = None
                if not known.has_answer:
                    known.tried.clear()
                self._tell(known.askers)

    async def close(self) -> None:
        """Ask nothing any more."""
        tasks = [known.task for known in self._known.values() if known.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _register(self, key: Key, teams: tuple[str, ...]) -> None:
        before = self._asked.get(key, ())
        if before == teams:
            return
        self._asked[key] = teams
        for team in teams:
            self._known.setdefault(team, _Known()).askers.add(key)
        for team in set(before) - set(teams):
            known = self._known[team]
            known.askers.discard(key)
            if not known.askers:
                del self._known[team]
                if known.task is not None:
                    known.task.cancel()

    def _ask_if_due(self, team: str, known: _Known) -> None:
        now_s = asyncio.get_running_loop().time()
        if known.task is None and now_s - known.answered_at >= self._holds_s:
            known.task = asyncio.create_task(self._ask(team, known), name=f"team {team}")

    async def _ask(self, team: str, known: _Known) -> None:
        is_answered = await self._tried(team, known)
        while not is_answered:
            await asyncio.sleep(self._retry_s)
            is_answered = await self._tried(team, known)
        known.task = None

    async def _tried(self, team: str, known: _Known) -> bool:
        before = known.says
        try:
            members = await self._api.members(team, await self._token())
            known.take(members, asyncio.get_running_loop().time())
        except (ExternalError, KubeError) as error:
            known.error = str(error)
        known.tried.set()
        if before != known.says:
            _log.info("team", team=team, members=len(known.members or ()), error=known.error)
            self._tell(known.askers)
        return known.error is None

    def _tell(self, askers: Iterable[Key]) -> None:
        for key in sorted(askers):
            self._notify(key)


def _is_doubtful(known: _Known) -> bool:
    return known.error is not None or not known.has_answer


def _problem(team: str, known: _Known) -> str:
    why = known.error or "no answer yet"
    stays = "what it said last holds" if known.has_answer else "its members are not known yet"
    return f'team "{team}": {why}; {stays}'
