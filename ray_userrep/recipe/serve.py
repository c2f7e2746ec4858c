"""Where an endpoint listens, what one request may ask for at most, and how many processes answer."""

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ServeConfig(BaseModel):
    """An endpoint: its address, the limits of a request, and its replicas."""

    model_config = ConfigDict(extra="forbid")

    host: str = Field(
        "127.0.0.1", min_length=1, description="address to listen on; other than this machine's own only with a token"
    )
    port: int = Field(8000, ge=1, le=65535, description="port to listen on")
    token_file: str | None = Field(
        None,
        min_length=1,
        description="file that holds the token which requests bring; none: the environment's RAY_USERREP_TOKEN, if set",
    )
    vectors: str | None = Field(
        None,
        min_length=1,
        description="folder of `embed` with embedding.sums: newer events are added to what it stores of a user",
    )
    model: str | None = Field(
        None,
        min_length=1,
        description="folder RUN/models/TASK of a transfer over labels: users are also scored by it; the encoder is its",
    )
    index: str | None = Field(
        None, min_length=1, description="folder of `index` with --of users: the users most alike are found in it"
    )
    min_replicas: int = Field(1, ge=1, description="processes that hold the encoder, at least")
    max_replicas: int = Field(1, ge=1, description="the same at most: more come when requests wait")
    cpus_per_replica: float = Field(1.0, gt=0, description="CPU cores of a replica")
    gpus_per_replica: float = Field(0.0, ge=0, description="GPUs of a replica; fractions share one")
    batch_size: int = Field(32, ge=1, description="requests that are answered in one forward pass, at most")
    batch_wait: float = Field(0.005, ge=0, le=10, description="seconds that a request waits for others")
    max_queued: int = Field(1000, ge=1, description="requests that wait, at most; more are told to come again (503)")
    timeout: float = Field(30.0, gt=0, description="seconds after which a request is given up (408)")
    max_body: int = Field(8 * 2**20, ge=1, description="bytes of a request, at most")
    max_histories: int = Field(256, ge=1, description="histories of a request, at most")
    max_items: int = Field(100_000, ge=1, description="interactions of a request, at most, over all its histories")
    max_k: int = Field(1000, ge=1, description="items or users that are asked for, at most, for each history")
    rate: float | None = Field(
        None, gt=0, description="requests a second of one client, by its address; none: as many as it likes"
    )

    @model_validator(mode="after")
    def _bounded(self) -> "ServeConfig":
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"serve.max_replicas {self.max_replicas} is below serve.min_replicas {self.min_replicas}")
        return self
