"""EC2's query API, as far as volumes need it: DescribeVolumes, DescribeVolumesModifications, ModifyVolume. Decides nothing.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyVolume.html
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from urllib.parse import urlencode, urlsplit
from xml.etree.ElementTree import Element

from howdah.adapters.aws.credentials import CredentialChain, endpoint
from howdah.adapters.aws.query import Refused, document, request
from howdah.adapters.aws.signature import signed_headers
from howdah.model.errors import ExternalError
from howdah.model.permit import Permit
from howdah.model.volumes import CloudVolume

SYSTEM = "EC2"
VERSION = "2016-11-15"
TIMEOUT_S = 15.0
ASKED_AT_ONCE = 200
"""EC2 takes no more values of a filter."""
MOST_PAGES = 50
_FORM = "application/x-www-form-urlencoded; charset=utf-8"
_STALE = frozenset({"ExpiredToken", "RequestExpired", "InvalidClientTokenId", "AuthFailure"})


class Ec2:
    """EC2 of one region; without one in the configuration, of the region that the environment names."""

    def __init__(self, region: str, environment: Mapping[str, str], *, timeout_s: float = TIMEOUT_S) -> None:
        self._region = region or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or ""
        self._url = endpoint(environment, "ec2", self._region)
        self._credentials = CredentialChain(environment, self._region)
        self._timeout_s = timeout_s

    @property
    def region(self) -> str:
        return self._region

    async def describe(self, ids: Iterable[str]) -> dict[str, CloudVolume]:
        """By id, those that EC2 knows. Raises ExternalError."""
        found: dict[str, CloudVolume] = {}
        wanted = sorted(set(ids))
        for start in range(0, len(wanted), ASKED_AT_ONCE):
            filters = _filters(wanted[start : start + ASKED_AT_ONCE])
            async for item in self._items("DescribeVolumes", filters, "volumeSet"):
                volume = _volume(item)
                found[volume.id] = volume
            async for item in self._items("DescribeVolumesModifications", filters, "volumeModificationSet"):
                _take_up(found, item)
        return found

    async def modify(
        self,
        volume_id: str,
        *,
        size_gib: int | None,
        kind: str | None,
        iops: int | None,
        throughput: int | None,
        permit: Permit,
    ) -> None:
        """Change what is not None. Raises Refused with EC2's code, or ExternalError.

        `permit` is asked when credentials have been found, right before it is sent; what it raises keeps it from that.
        """
        said = {"Size": size_gib, "VolumeType": kind, "Iops": iops, "Throughput": throughput}
        asked = {name: str(value) for name, value in said.items() if value is not None}
        await self._call("ModifyVolume", {"VolumeId": volume_id, **asked}, permit)

    async def _items(self, action: str, filters: Mapping[str, str], name: str) -> AsyncIterator[Element]:
        token = ""
        for _ in range(MOST_PAGES):
            root = await self._call(action, {**filters, **({"NextToken": token} if token else {})})
            for item in root.iterfind(f"{name}/item"):
                yield item
            token = root.findtext("nextToken") or ""
            if not token:
                return
        raise ExternalError(SYSTEM, transient=False, message=f"{action} does not come to an end")

    async def _call(self, action: str, parameters: Mapping[str, str], permit: Permit = lambda: None) -> Element:
        if not self._region:
            raise ExternalError(SYSTEM, transient=False, message="no region: set aws_region")
        credentials = await self._credentials.current()
        body = urlencode({"Action": action, "Version": VERSION, **parameters}).encode()
        headers = signed_headers(
            credentials,
            service="ec2",
            region=self._region,
            host=urlsplit(self._url).netloc,
            content=(_FORM, body),
            now=dt.datetime.now(dt.UTC),
        )
        permit()
        status, answer = await request(
            "POST", self._url, system=SYSTEM, timeout_s=self._timeout_s, headers=headers, body=body, by_proxy=True
        )
        try:
            return document(SYSTEM, status, answer)
        except Refused as refused:
            if refused.code in _STALE:
                self._credentials.forget()
            raise


def _filters(ids: Iterable[str]) -> dict[str, str]:
    """By a filter, for a volume that is gone must not fail the question about others."""
    values = {f"Filter.1.Value.{number}": one for number, one in enumerate(ids, 1)}
    return {"Filter.1.Name": "volume-id", **values}


def _volume(item: Element) -> CloudVolume:
    return CloudVolume(
        id=item.findtext("volumeId") or "",
        size_gib=_number(item, "size") or 0,
        type=item.findtext("volumeType") or "",
        iops=_number(item, "iops"),
        throughput=_number(item, "throughput"),
    )


def _take_up(found: dict[str, CloudVolume], item: Element) -> None:
    """The state of its last modification; EC2 tells none of a volume that was never modified."""
    volume = found.get(item.findtext("volumeId") or "")
    if volume is not None:
        state, why = item.findtext("modificationState") or "", item.findtext("statusMessage") or ""
        found[volume.id] = replace(volume, modification=state, modification_error=why)


def _number(item: Element, name: str) -> int | None:
    text = item.findtext(name)
    return int(text) if text and text.isdigit() else None
