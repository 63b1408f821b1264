"""The SQL functions a query may call: they compute, they reach nothing."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


AGGREGATES = ("count", "sum", "avg", "min", "max", "total", "group_concat")
_SQLITE_SCALARS = _words("""
abs char coalesce format glob hex ifnull iif instr length like likelihood likely lower
ltrim max min nullif printf quote random replace round rtrim sign soundex substr substring trim
typeof unicode unlikely upper zeroblob randomblob
acos acosh asin asinh atan atan2 atanh ceil ceiling cos cosh degrees exp floor ln log log10 log2
mod pi pow power radians sin sinh sqrt tan tanh trunc
date time datetime julianday strftime unixepoch timediff current_date current_time
current_timestamp
json json_array json_array_length json_extract json_object json_type json_valid json_quote
json_group_array json_group_object json_each json_tree -> ->>
""")
WINDOW = _words("""row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value
last_value nth_value""")
_POSTGRES = _words("""
stddev stddev_pop stddev_samp variance var_pop var_samp string_agg array_agg bool_and bool_or
every percentile_cont percentile_disc mode corr
greatest least concat concat_ws left right position strpos split_part initcap btrim lpad rpad
repeat reverse overlay regexp_replace regexp_match regexp_matches to_char to_date to_number
to_timestamp date_trunc date_part extract age now make_date make_interval cbrt div
width_bucket array_length cardinality unnest string_to_array array_to_string char_length
octet_length character_length translate starts_with ascii chr md5 generate_series
jsonb_array_length jsonb_extract_path_text json_extract_path_text json_array_elements
jsonb_array_elements json_array_elements_text jsonb_array_elements_text numeric
""")

SQLITE_FUNCTIONS = frozenset((*AGGREGATES, *_SQLITE_SCALARS, *WINDOW))
POSTGRES_FUNCTIONS = frozenset((*AGGREGATES, *_SQLITE_SCALARS, *WINDOW, *_POSTGRES)) - {
    "printf",
    "randomblob",
    "zeroblob",
}
