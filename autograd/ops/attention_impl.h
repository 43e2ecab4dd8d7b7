/* Attention of one head: kernels in attention_loops.inc, and the same with care in attention_rows.c. */
#ifndef AG_ATTENTION_IMPL_H
#define AG_ATTENTION_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AG_ATTEND_QUERIES = 64 }; /* at a time */

/* Rows of one head: element (i, j) is data[i * row + j * col]. */
typedef struct ag_head_rows {
    void *data;
    int64_t row, col;
} ag_head_rows;

/* With P = softmax(scale q k' where a key is seen): out = P v; of the adjoint w of that,
 *     dv = P' w        S = scale P (w v' - sum(P w v'))        dq = S k        dk = S' q */
typedef struct ag_attend {
    int64_t queries, keys, width, values; /* `values`: the width of v */
    double scale;
    bool causal;      /* query i sees keys 0 to i */
    const void *keep; /* a key whose number is 0 is not seen; NULL: all are */
    int64_t keep_step;
    ag_head_rows q, k, v, out, w;
    ag_head_rows to[3];           /* dq, dk, dv; data NULL where nobody asks; overlap nothing that is read */
    bool store[3];                /* else it is added */
    const struct ag_attend *next; /* whose rows may be fetched meanwhile; or NULL */
} ag_attend;

static inline bool ag_is_causal_end(const ag_attend *p, int64_t query, int64_t key) { return p->causal && key > query; }

#endif
