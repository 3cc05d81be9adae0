"""Embed a column of a Spark data frame, with the model in Spark's Python processes. Spark needs a Java runtime.

PYTHONPATH=. python examples/pipelines/spark.py
"""

from __future__ import annotations

import os

import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql.functions import pandas_udf
from pyspark.sql.types import ArrayType, FloatType

from in_process import Embedder

embed = Embedder(os.environ.get("MODEL", "all-minilm-l6-v2"), input_type="document")  # travels without the model


@pandas_udf(ArrayType(FloatType()))
def embedding(texts: pd.Series) -> pd.Series:
    """A vector for each text; a Python process loads the model at its first batch."""
    return pd.Series(list(embed(list(texts)).dense))


spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
rows = [(1, "The cat sits on the mat."), (2, "Stocks fell sharply today.")]
frame = spark.createDataFrame(rows, ["id", "text"]).withColumn("embedding", embedding("text"))
for row in frame.collect():
    print(row.id, row.text, len(row.embedding), "numbers")
spark.stop()
