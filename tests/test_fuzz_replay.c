/* The fuzzer of the public API, without libFuzzer. */
#include "corpus.h"
#include "fuzz_api.c"

#define CORPUS "api"
#include "fuzz_replay.h"
