"""EC2 and STS on loopback, as far as volumes need them: in the words, forms and refusals of AWS's API reference."""

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from aiohttp import web

REGION = "eu-central-1"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDTEST", "AWS_SECRET_ACCESS_KEY": "SECRETOFTEST", "AWS_SESSION_TOKEN": "TOKENOFTEST"}
NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"
MOST_VALUES = 200


@dataclass(slots=True)
class Volume:
    """As EC2 has it; `state` of its last modification."""

    size: int
    type: str
    iops: int | None = None
    throughput: int | None = None
    state: str = ""
    said: str = ""

    def xml(self, volume_id: str) -> str:
        has = {"volumeId": volume_id, "size": self.size, "volumeType": self.type, "iops": self.iops}
        return _item({**has, "throughput": self.throughput, "status": "in-use"})


@dataclass(slots=True)
class AwsServer:
    """`lasting`: the state in which a modification stays; `refuses`: the code that every modification is answered with."""

    volumes: dict[str, Volume] = field(default_factory=dict)
    lasting: str = "completed"
    refuses: str = ""
    page: int = 1000
    asked: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    @property
    def environment(self) -> dict[str, str]:
        return {**KEYS, "AWS_ENDPOINT_URL": self.url}

    def modifications(self) -> list[dict[str, str]]:
        return [_without(form, "Action", "Version") for form in self.asked if form["Action"] == "ModifyVolume"]

    async def answer(self, request: web.Request) -> web.Response:
        form = dict(parse_qsl(await request.text(), strict_parsing=True))
        self.asked.append(form)
        scope = f"/{REGION}/ec2/aws4_request, SignedHeaders="
        if form["Version"] != "2016-11-15" or scope not in request.headers["authorization"]:
            return _error("AuthFailure", "AWS was not able to validate the provided access credentials")
        if form["Action"] == "ModifyVolume":
            return self._modify(form)
        wanted = [form[name] for name in sorted(form) if name.startswith("Filter.1.Value.")]
        if len(wanted) > MOST_VALUES or form["Filter.1.Name"] != "volume-id":
            return _error("FilterLimitExceeded", "The maximum number of filter values has been exceeded")
        found = sorted(one for one in set(wanted) & self.volumes.keys())
        if form["Action"] == "DescribeVolumes":
            return self._page(form, "volumeSet", [self.volumes[one].xml(one) for one in found])
        states = ((one, self.volumes[one]) for one in found if self.volumes[one].state)
        items = [_item({"volumeId": i, "modificationState": v.state, "statusMessage": v.said}) for i, v in states]
        return self._page(form, "volumeModificationSet", items)

    def _page(self, form: Mapping[str, str], name: str, items: list[str]) -> web.Response:
        start = int(form.get("NextToken", "0"))
        more = start + self.page < len(items)
        token = f"<nextToken>{start + self.page}</nextToken>" if more else ""
        body = f"<{name}>{''.join(items[start : start + self.page])}</{name}>{token}"
        return _document(f"{form['Action']}Response", body)

    def _modify(self, form: Mapping[str, str]) -> web.Response:
        volume = self.volumes.get(form["VolumeId"])
        if volume is None:
            return _error("InvalidVolume.NotFound", f"The volume '{form['VolumeId']}' does not exist.")
        if self.refuses:
            return _error(self.refuses, "refused by this test")
        if volume.state in ("modifying", "optimizing"):
            return _error("IncorrectModificationState", "Cannot modify a volume in modification state")
        size = int(form.get("Size", volume.size))
        if size < volume.size:
            return _error("InvalidParameterValue", "New size cannot be smaller than existing size")
        numbers = {name: int(form[name.title()]) for name in ("iops", "throughput") if name.title() in form}
        volume.size, volume.type, volume.state = size, form.get("VolumeType", volume.type), self.lasting
        volume.iops, volume.throughput = (
            numbers.get("iops", volume.iops),
            numbers.get("throughput", volume.throughput),
        )
        body = f"<volumeModification><modificationState>{volume.state}</modificationState></volumeModification>"
        return _document("ModifyVolumeResponse", body)


@asynccontextmanager
async def aws(**volumes: Volume) -> AsyncIterator[AwsServer]:
    """Volumes by their ids, with `_` for `-`."""
    found = AwsServer({name.replace("_", "-"): volume for name, volume in volumes.items()})
    app = web.Application()
    app.router.add_post("/", found.answer)
    async with _served(app) as url:
        found.url = url
        yield found


def _document(name: str, body: str) -> web.Response:
    text = f'<?xml version="1.0" encoding="UTF-8"?><{name} xmlns="{NAMESPACE}"><requestId>r</requestId>{body}</{name}>'
    return web.Response(text=text, content_type="text/xml")


def _error(code: str, message: str) -> web.Response:
    said = f"<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
    return web.Response(status=400, text=f"<Response>{said}<RequestID>r</RequestID></Response>")


def _item(has: Mapping[str, object]) -> str:
    return f"<item>{''.join(f'<{k}>{v}</{k}>' for k, v in has.items() if v is not None)}</item>"


def _without(form: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in form.items() if name not in names}


@dataclass(slots=True)
class Scripted:
    """A server on loopback with one answer for each path; `seen` has what it was asked."""

    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str], str]] = field(default_factory=list)
    delay_s: float = 0.0
    url: str = ""
    when_asked: Callable[[], None] = lambda: None

    async def answer(self, request: web.Request) -> web.Response:
        self.when_asked()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append((request.method, request.path, headers, await request.text()))
        await asyncio.sleep(self.delay_s)
        status, text = self.answers.get(request.path, (404, ""))
        return web.Response(status=status, text=text)


@asynccontextmanager
async def scripted(answers: dict[str, tuple[int, str]], *, delay_s: float = 0.0) -> AsyncIterator[Scripted]:
    found = Scripted(dict(answers), delay_s=delay_s)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.answer)
    async with _served(app) as url:
        found.url = url
        yield found


@asynccontextmanager
async def _served(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def temporary(ends_in: dt.timedelta = dt.timedelta(hours=1)) -> str:
    """The answer of a metadata service."""
    end = (dt.datetime.now(dt.UTC) + ends_in).strftime("%Y-%m-%dT%H:%M:%SZ")
    said = {"AccessKeyId": "AKIDNEAR", "SecretAccessKey": "SECRETNEAR", "Token": "TOKENNEAR", "Expiration": end}
    return json.dumps(said)
