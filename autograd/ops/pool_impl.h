/* Pooling of one plane: what the kernels of pool_loops.inc work on. */
#ifndef AG_POOL_IMPL_H
#define AG_POOL_IMPL_H

#include <stdbool.h>
#include <stdint.h>

/* Elements first, first + step, ... before end along an axis, inside the plane; `count`: of a mean. */
typedef struct ag_window {
    int64_t first, end, count;
} ag_window;

typedef struct ag_pool_plane {
    int64_t out[2], step[2], width; /* results; between elements of a window; of a row of the plane */
    const ag_window *window[2];     /* of each row and each column of results */
    bool regular;                   /* windows begin where these say, not where `window` does, and none is adaptive */
    int64_t kernel[2], stride[2], padding[2], size[2];
    bool twos;  /* all windows are 2 x 2, side by side */
    bool fills; /* and cover the plane, to which nothing is added: what is spread is stored */
} ag_pool_plane;

#endif
