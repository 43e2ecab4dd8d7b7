/* The same numbers, to the bit, whatever the number of threads. It is read once in a process, so a test program runs itself:
 * `PROGRAM bits` prints a hash of what it computed. */
#ifndef ANY_THREADS_H
#define ANY_THREADS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static char program_path[512]; /* argv[0] */

/* FNV-1a (Fowler, Noll, Vo); starts from 0 or from a hash of what came before. */
static inline uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t count) {
    if (hash == 0) hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < count; i++) hash = (hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static inline void print_hash(uint64_t hash) { printf("%016llx\n", (unsigned long long)hash); }

static inline void same_for_threads(int most) {
    char first[64] = "", line[64], command[640];
    for (int threads = 1; threads <= most; threads++) {
        snprintf(command, sizeof command, "OMP_NUM_THREADS=%d '%s' bits", threads, program_path);
        FILE *in = popen(command, "r");
        assert_non_null(in);
        assert_non_null(fgets(line, sizeof line, in));
        assert_int_equal(pclose(in), 0);
        if (threads == 1) memcpy(first, line, sizeof first);
        assert_string_equal(line, first);
    }
}

#endif
