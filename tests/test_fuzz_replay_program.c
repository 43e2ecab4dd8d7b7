/* The fuzzer of program files, without libFuzzer. */
#include "corpus.h"
#include "fuzz_program.c"

#define CORPUS "program"
#include "fuzz_replay.h"
