"""MODEL_ALIASES, in the whole app."""

from tests.integration.conftest import RunApp, embed, ok


def test_an_alias_names_the_model_on_every_route(run_app: RunApp) -> None:
    aliases = {
        "MODEL_ALIASES": "text-embedding-3-small=bge-m3,tei=bge-m3",
        "EMBEDDING_MODEL_NAME": "text-embedding-3-small",
    }
    with run_app(**aliases) as app:
        expected = embed(app.client, ["a"], model="bge-m3")["data"]
        for name in ("text-embedding-3-small", "Text-Embedding-3-Small", "tei"):
            body = embed(app.client, ["a"], model=name)
            assert (body["data"], body["model"]) == (expected, name)
        assert embed(app.client, ["a"])["data"] == expected
        assert ok(app.client.get("/v1/models/text-embedding-3-small"))["id"] == "bge-m3"
        body = ok(app.client.post("/api/embed", json={"model": "text-embedding-3-small:latest", "input": "a"}))
        assert body["embeddings"] == [expected[0]["embedding"]]
