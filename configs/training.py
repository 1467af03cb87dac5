"""How a model is trained: optimizers, schedule, input, precision and distribution."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from configs.model import RERANKERS, RETRIEVERS
from configs.section import FixedInArms, NamesRun, Role, Section, TakesEffect

OptimizerName = Literal["adam", "lazy_adam", "adagrad", "sgd"]
Schedule = Literal["constant", "cosine"]


class Training(Section):
    """How the model is trained."""

    epochs: int = Field(20, ge=1, description="upper bound; early stopping usually ends sooner")
    batch_size: int = Field(
        512,
        ge=1,
        description="samples of a step over all devices and workers; lists for re-rankers",
    )
    seed: Annotated[int, FixedInArms("the experiment sets it for every seed")] = Field(
        1, ge=0, lt=2**32, description="of initial weights, the order of examples and dropout"
    )
    optimizer: OptimizerName = Field(
        "adam", description="of all variables that have no optimizer of their own"
    )
    learning_rate: float = Field(1e-3, gt=0, description="of the optimizer, after warm-up")
    embedding_optimizer: Literal["same"] | OptimizerName = Field(
        "same",
        description="of embedding tables; lazy_adam and adagrad touch only the rows of a batch, "
        "which is far faster where tables are large (docs/training.md)",
    )
    embedding_learning_rate: float | None = Field(
        None,
        gt=0,
        description="of embedding tables; learning_rate if empty",
    )
    schedule: Schedule = Field(
        "constant",
        description="cosine: the learning rates fall to 0 over all epochs that are left after "
        "warm-up",
    )
    warmup_steps: int = Field(
        0, ge=0, description="steps in which the learning rates rise from 0 in equal parts"
    )
    weight_decay: float = Field(
        0.0,
        ge=0,
        description="share of a dense kernel, times the learning rate, taken away in every step "
        "(decoupled, as AdamW does); not of embeddings, biases and normalisations",
    )
    embedding_regularization: Annotated[
        float, TakesEffect("model.adapter", unless=("replace_id",))
    ] = Field(0.0, ge=0, description="L2 factor on id embeddings used in a batch")
    gradient_clip_norm: float | None = Field(
        None,
        gt=0,
        description="largest norm of all gradients together; not clipped if empty",
    )
    class_weights: Annotated[
        tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]],
        TakesEffect("model.backbone", unless=RETRIEVERS),
    ] = Field(
        (1.0, 1.0),
        description="weights of the losses of samples with label 0 and label 1; scores are then "
        "no longer calibrated; not for retrieval and list_loss=listwise",
    )
    list_loss: Annotated[
        Literal["pointwise", "listwise"], TakesEffect("model.backbone", RERANKERS), NamesRun()
    ] = Field(
        "pointwise",
        description="re-rankers: cross entropy of every candidate, or of the whole list's softmax",
    )
    selection: Literal["auto", "auc", "gauc"] = Field(
        "auto",
        description="validation metric that chooses the best epoch and stops training; auto: auc "
        "of ranking models, ndcg_at_10 of re-rankers, new_items_recall_at_10 of retrieval; auc "
        "and gauc are for ranking models",
    )
    patience: int = Field(
        2, ge=1, description="epochs without a better validation result before stopping"
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "float32",
        description="number format of the layers' arithmetic; weights stay float32. "
        "mixed_bfloat16 for CPUs with AMX or AVX-512 and newer GPUs, mixed_float16 (with loss "
        "scaling) for older GPUs",
    )
    xla: bool = Field(
        False, description="compile the step with XLA; faster on GPUs, slower on most CPUs"
    )
    steps_per_execution: int = Field(
        1, ge=1, description="steps that run in one call; more helps fast accelerators"
    )
    input: Literal["memory", "stream"] = Field(
        "memory",
        description="memory: examples are prepared once and kept; stream: they are read from their "
        "files in every epoch, for data that memory does not hold",
    )
    shuffle_buffer: Annotated[int, TakesEffect(".input", ("stream",))] = Field(
        100_000, ge=1, description="samples among which a stream is shuffled"
    )
    checkpoint_steps: Annotated[int, Role.NO_TRAINING] = Field(
        1000,
        ge=0,
        description="steps between checkpoints from which training resumes, beside those at the "
        "end of each epoch; 0: only those",
    )
    distribution: Literal["none", "mirrored", "multi_worker", "parameter_server"] = Field(
        "none",
        description="tf.distribute strategy: mirrored over all GPUs of this machine (or logical "
        "devices), multi_worker and parameter_server over the processes that TF_CONFIG names "
        "(docs/distributed.md)",
    )
    devices: Annotated[int | None, TakesEffect(".distribution", ("mirrored",))] = Field(
        None,
        ge=1,
        description="of mirrored: so many GPUs, all if empty; on a machine without a GPU so many "
        "logical devices of the CPU, to try it out",
    )
    sharding: Annotated[
        Literal["batches", "files"],
        TakesEffect(".distribution", ("multi_worker",)),
        TakesEffect(".input", ("stream",)),
    ] = Field(
        "batches",
        description="of a stream among the processes of multi_worker: batches: each reads all "
        "files and takes its part of every batch, so that batches are those of one device; files: "
        "each reads its part of the files only",
    )
    tensorboard: Annotated[bool, Role.NO_TRAINING] = Field(
        False, description="write event files for TensorBoard into the run folder"
    )

    @model_validator(mode="after")
    def _lazy_is_for_embeddings(self) -> Training:
        if self.optimizer == "lazy_adam":
            raise ValueError(
                "training.optimizer: lazy_adam is for embedding tables; set "
                "training.embedding_optimizer=lazy_adam and training.optimizer=adam"
            )
        return self

    @model_validator(mode="after")
    def _goes_with_the_distribution(self) -> Training:
        if self.xla and self.distribution != "none":
            raise ValueError(
                "training.xla: a step that is compiled as a whole cannot add up the gradients of "
                "several devices; set training.xla=false, or training.distribution=none in place "
                f"of {self.distribution}"
            )
        if self.precision == "mixed_float16" and self.distribution == "parameter_server":
            raise ValueError(
                "training.precision: mixed_float16 scales losses, which TensorFlow cannot do with "
                "parameter servers; set training.precision=mixed_bfloat16"
            )
        return self

    @model_validator(mode="after")
    def _parameter_servers_hand_out_single_steps(self) -> Training:
        if self.distribution == "parameter_server" and self.steps_per_execution > 1:
            raise ValueError(
                "training.steps_per_execution: parameter servers hand out single steps; set it to 1"
            )
        return self
