"""A server that speaks, for tests, what an index asks of Qdrant's REST: none of Qdrant's own is needed.

Requests are read and answers are written with the client's own models, so what travels is what the client
expects of a real server. Points are kept and searched by the client's engine in memory. What that lacks:

- which fields are indexed: only their names and kinds are kept, for the engine looks at every payload.
  Conditions on other fields are refused, as by servers in Qdrant's strict mode;
- the API key, the greatest size of a body, and errors, worded as Qdrant words them.

What tests over it cannot show: that a real server takes these requests, how it ranks by HNSW (here all
vectors are compared), how fast it is, and that it keeps what it has acknowledged: `stop` and `start` keep the
points, but nothing is on a disk.
"""

import asyncio
import functools
import json
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import uvicorn
from fastapi import Body, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel
from qdrant_client import QdrantClient, models

LARGEST = 32 * 2**20  # bytes of a body
GREATEST = 2**64  # what numbers stay below


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    size: int
    body: Any


class QdrantServer:
    """A server in a thread.

    Args:
        key: The API key that requests must show.
        version: Of Qdrant, as which it poses.

    Attributes:
        engine: What keeps the points.
        asked: The requests that came.
        before: Called with each request before it is answered; where it raises, nothing else is done, and the
            status is 500.
    """

    def __init__(self, *, key: str | None = None, version: str = "1.20.0") -> None:
        self.key = key
        self.version = version
        self.engine = QdrantClient(":memory:")
        self.indexes: dict[str, dict[str, models.PayloadIndexInfo]] = {}
        self.asked: list[Asked] = []
        self.before: Callable[[Asked], object] = lambda _: None
        self._port = 0
        self._app = _app(self)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> "QdrantServer":
        """Listens, at the same port as before."""
        listener = socket.create_server(("127.0.0.1", self._port))
        self._port = listener.getsockname()[1]
        config = uvicorn.Config(self._app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, daemon=True, name="qdrant"
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Goes away; what it holds stays."""
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()

    def bodies(self, path: str) -> list[Any]:
        """Return the bodies of the requests whose paths end in `path`."""
        return [one.body for one in self.asked if one.path.endswith(path)]

    def __enter__(self) -> "QdrantServer":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


@functools.cache
def shared_server() -> QdrantServer:
    """One for all tests that do not stop it; it ends with the process."""
    return QdrantServer().start()


def _app(server: QdrantServer) -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.middleware("http")
    async def received(request: Request, answer: Callable[[Request], Any]) -> Response:
        if (
            server.key is not None
            and request.headers.get("api-key") != server.key
            and request.url.path != "/"
        ):
            shown = request.headers.get("api-key")
            # Plain text, as Qdrant's.
            return PlainTextResponse(
                "Invalid API key or JWT"
                if shown
                else "Must provide an API key or an Authorization bearer token",
                401,
            )
        size = int(request.headers.get("content-length", 0))
        if size > LARGEST:
            return _error(
                400, f"JSON payload ({size} bytes) is larger than allowed (limit: {LARGEST} bytes)."
            )
        content = await request.body()
        asked = Asked(request.method, request.url.path, size, json.loads(content) if content else None)
        server.asked.append(asked)
        try:
            await asyncio.to_thread(server.before, asked)
        except Exception as error:
            return _error(500, f"Service internal error: {error}")
        return await answer(request)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        return _error(error.status_code, error.detail)

    @app.exception_handler(RequestValidationError)
    async def misread(_: Request, error: RequestValidationError) -> Response:
        return _error(400, f"Format error in JSON body: {error.errors()[0]['msg']}")

    def known(name: str) -> QdrantClient:
        if not server.engine.collection_exists(name):
            raise HTTPException(404, f"Not found: Collection `{name}` doesn't exist!")
        return server.engine

    # ─── collections ─────────────────────────────────────────────────────────────────────────────────────

    @app.get("/")
    async def about() -> Response:
        return _written(models.VersionInfo(title="qdrant - vector search engine", version=server.version))

    @app.get("/collections/{name}/exists")
    async def exists(name: str) -> Response:
        there = models.CollectionExistence(exists=server.engine.collection_exists(name))
        return _written(models.InlineResponse2009(status="ok", result=there))

    @app.put("/collections/{name}")
    async def create(name: str, asked: models.CreateCollection) -> Response:
        if server.engine.collection_exists(name):
            raise HTTPException(409, f"Wrong input: Collection `{name}` already exists!")
        server.engine.create_collection(name, vectors_config=asked.vectors, metadata=asked.metadata)
        server.indexes[name] = {}
        return _written(models.InlineResponse2001(status="ok", result=True))

    @app.get("/collections/{name}")
    async def collection(name: str) -> Response:
        about = known(name).get_collection(name)
        about.payload_schema = server.indexes[name]
        return _written(models.InlineResponse2007(status="ok", result=about))

    @app.put("/collections/{name}/index")
    async def index(name: str, asked: models.CreateFieldIndex) -> Response:
        known(name)
        schema = asked.field_schema
        kind = schema if isinstance(schema, models.PayloadSchemaType) else schema.type.value
        server.indexes[name][asked.field_name] = models.PayloadIndexInfo(data_type=kind, points=0)
        return _updated()

    # ─── points ──────────────────────────────────────────────────────────────────────────────────────────

    @app.put("/collections/{name}/points")
    async def upsert(name: str, asked: Annotated[models.PointInsertOperations, Body()]) -> Response:
        assert isinstance(asked, models.PointsList)
        known(name).upsert(name, asked.points)
        return _updated()

    @app.post("/collections/{name}/points/delete")
    async def delete(name: str, asked: Annotated[models.PointsSelector, Body()]) -> Response:
        known(name).delete(name, asked)
        return _updated()

    @app.post("/collections/{name}/points/count")
    async def count(name: str, asked: models.CountRequest) -> Response:
        counted = known(name).count(name, asked.filter, exact=asked.exact)
        return _written(models.InlineResponse20020(status="ok", result=counted))

    @app.post("/collections/{name}/points")
    async def retrieve(name: str, asked: models.PointRequest) -> Response:
        records = known(name).retrieve(
            name, asked.ids, with_payload=asked.with_payload, with_vectors=asked.with_vector
        )
        return _written(models.InlineResponse20017(status="ok", result=records))

    @app.post("/collections/{name}/points/scroll")
    async def scroll(name: str, asked: models.ScrollRequest) -> Response:
        records, offset = known(name).scroll(
            name, asked.filter, limit=asked.limit, offset=asked.offset, with_payload=asked.with_payload
        )
        result = models.ScrollResult(points=records, next_page_offset=offset)
        return _written(models.InlineResponse20019(status="ok", result=result))

    @app.post("/collections/{name}/points/query/batch")
    async def query(name: str, asked: models.QueryRequestBatch) -> Response:
        engine = known(name)
        for one in asked.searches:
            if one.limit >= GREATEST:
                raise HTTPException(400, "Format error in JSON body: number out of range")
            for field in _fields(one.filter):
                if field not in server.indexes[name]:
                    raise HTTPException(
                        400,
                        f'Bad request: Index required but not found for "{field}". Help: Create an index for '
                        "this key or use a different filter.",
                    )
        with warnings.catch_warnings(action="ignore"):  # that it compares all vectors, whatever it is told
            found = engine.query_batch_points(name, asked.searches)
        return _written(models.InlineResponse20023(status="ok", result=found))

    return app


def _fields(condition: models.Filter | models.FieldCondition | None) -> Iterator[str]:
    if isinstance(condition, models.FieldCondition):
        yield condition.key
    elif condition:
        for one in (*(condition.must or []), *(condition.must_not or []), *(condition.should or [])):
            yield from _fields(one)


def _written(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


def _updated() -> Response:
    done = models.UpdateResult(operation_id=0, status=models.UpdateStatus.COMPLETED)
    return _written(models.InlineResponse2008(status="ok", result=done))


def _error(status: int, said: str) -> Response:
    return JSONResponse({"status": {"error": said}, "time": 0.0}, status)
