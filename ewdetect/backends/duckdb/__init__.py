"""The reference: rules as DuckDB SQL over the table `flow` that the engine builds."""
