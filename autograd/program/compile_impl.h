/* A compiled program: compile.c makes it and runs it once, compile_rows.c for many rows. */
#ifndef AG_COMPILE_IMPL_H
#define AG_COMPILE_IMPL_H

#include "runner_impl.h"

/* Of one row; not 0: data or a place for it is missing, or (above 0) something went wrong. Of C_LANES rows, see
 * print/lanes.c. */
enum { AG_LACKS_INPUT = -1, AG_LACKS_OUTPUT = -2 };
typedef int ag_entry(const void *const *xs, void *const *ys, void *work);
typedef void ag_lanes_entry(const void *in, void *out);

struct ag_compiled {
    ag_memory memory;
    ag_program *p;
    ag_type type;      /* p's, at hand */
    ag_runner *runner; /* runs it where compiling failed, and tells what went wrong in a run */
    bool run_failed;   /* the last one, so the message is the runner's */
    void *library, *work, *spare;
    ag_entry *entry;
    ag_lanes_entry *lanes; /* NULL: none */
    void *block;           /* numbers of its inputs, then its outputs */
    int64_t lanes_in, lanes_out;
    size_t block_size;
    const void **xs; /* of the row that is run */
    void **ys;
    size_t work_size, spare_size;
    ag_status status;
    char message[640];
};

/* The machine's run, where there is no machine code or where that failed: what went wrong is said in its words. */
ag_status ag_compiled_run_machine(ag_compiled *c, ag_type type, const void *const *xs, void *const *ys);
/* A place for output k of a row, where the caller has none. */
void *ag_compiled_spare(const ag_compiled *c, uint64_t k);

#endif
