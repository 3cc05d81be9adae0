"""The applications: versions, packages and environment variables."""

from dataclasses import dataclass, field

NODE = "24.9.0"
"""Version of Node.js, as npm's package `node`."""
TORCH = "2.13.0"
"""Version of torch for applications that depend on it."""


@dataclass(frozen=True)
class Application:
    """`program` is a module of tests/applications/programs; `packages` come with the application's own package.

    `environment` may name {url}, {key} and {model}.
    """

    name: str
    program: str
    package: str
    version: str
    packages: tuple[str, ...] = ()
    npm: bool = False
    reranks: bool = False
    environment: dict[str, str] = field(default_factory=dict)


OPENAI, COHERE, LITELLM = "openai==3.57.0", "cohere==7.3.1", "litellm==1.110.2"
COHERE_URL = {"CO_API_URL": "{url}"}
"""The base URL of Cohere's client, for applications that have no field for it."""

APPLICATIONS = (
    Application(
        "Open WebUI",
        "open_webui",
        "open-webui",
        "0.12.4",
        reranks=True,
        environment={
            "RAG_EMBEDDING_ENGINE": "openai",
            "RAG_OPENAI_API_BASE_URL": "{url}/v1",
            "RAG_OPENAI_API_KEY": "{key}",
            "RAG_EMBEDDING_MODEL": "{model}",
            "ENABLE_RAG_HYBRID_SEARCH": "true",
            "RAG_RERANKING_ENGINE": "external",
            "RAG_EXTERNAL_RERANKER_URL": "{url}/v1/rerank",
            "RAG_EXTERNAL_RERANKER_API_KEY": "{key}",
            "RAG_RERANKING_MODEL": "{model}",
        },
    ),
    Application(
        "n8n",
        "n8n",
        "n8n",
        "2.41.1",
        npm=True,
        reranks=True,
        environment={"N8N_DIAGNOSTICS_ENABLED": "false", "N8N_VERSION_NOTIFICATIONS_ENABLED": "false"},
    ),
    Application(
        "Flowise",
        "flowise",
        "flowise",
        "3.1.4",
        npm=True,
        reranks=True,
        environment={"DISABLE_FLOWISE_TELEMETRY": "true", "HTTP_SECURITY_CHECK": "false"},
    ),
    Application("LightRAG", "lightrag", "lightrag-hku", "1.5.7", (OPENAI,), reranks=True),
    Application(
        "LanceDB",
        "lancedb",
        "lancedb",
        "0.40.0",
        ("ollama==0.6.3", COHERE, "pandas==3.1.1"),
        reranks=True,
        environment=COHERE_URL,
    ),
    Application(
        "mem0", "mem0", "mem0ai", "2.2.1", (COHERE,), reranks=True, environment=COHERE_URL | {"MEM0_TELEMETRY": "False"}
    ),
    Application(
        "agno",
        "agno",
        "agno",
        "3.1.10",
        (OPENAI, COHERE, "lancedb==0.40.0"),
        reranks=True,
        environment=COHERE_URL | {"AGNO_TELEMETRY": "false"},
    ),
    Application(
        "Chroma",
        "chroma",
        "chromadb",
        "1.5.9",
        (OPENAI,),
        environment={"CHROMA_OPENAI_API_KEY": "{key}", "ANONYMIZED_TELEMETRY": "False"},
    ),
    Application("Qdrant", "qdrant", "qdrant-client", "1.20.0", (OPENAI,)),
    Application("txtai", "txtai", "txtai", "9.14.0", (LITELLM,)),
    Application("DSPy", "dspy", "dspy", "3.4.1", ("numpy==2.4.6",)),
    Application("Semantic Kernel", "semantic_kernel", "semantic-kernel", "1.45.0"),
    Application(
        "CrewAI",
        "crewai",
        "crewai",
        "1.15.30",
        environment={"CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true"},
    ),
)
