/* A planned program: where every value is, and what is done in which order. */
#ifndef AG_RUNNER_IMPL_H
#define AG_RUNNER_IMPL_H

#include "../ops/native_impl.h"
#include "../tape/cursor_impl.h"
#include "program_impl.h"

/* A place: an element of a space. Spaces are the work array, each input and each output. */
enum { SPACE_WORK, SPACE_INPUTS };
typedef struct ag_spot {
    uint32_t space; /* SPACE_INPUTS + k: input k; SPACE_INPUTS + number of inputs + k: output k */
    int64_t offset;
} ag_spot;

typedef enum ag_step_kind {
    STEP_STRAIGHT,    /* `count` instructions of straight-line code from `first` on */
    STEP_ELEMENTWISE, /* operands: the result first, then those of operation `code` */
    STEP_CALL,        /* the same, of call number `code` */
    STEP_FUSED,       /* straight-line code over elements: operands are the results first, then what is read */
    STEP_COPY,        /* the result, and what is copied there */
    STEP_LIST         /* the result, and the numbers of the work array that it is made of */
} ag_step_kind;

typedef struct ag_pstep {
    ag_step_kind kind;
    uint32_t code, first, count;
    ag_native_code *native;           /* STEP_STRAIGHT, as instructions of the processor, or NULL; */
    ag_native_rows *native_rows;      /* the same of STEP_FUSED; */
    bool done;                        /* STEP_LIST: by the native code of the step before */
    uint32_t codes, outs, sums, rows; /* STEP_FUSED: instructions from `code` on, results, sums, rows; */
    uint32_t exact, exacts;           /* the same code with chains where that has quick ones, in `exact`, */
    uint32_t shift, shifts;           /* its shifts, whose rows come right behind those of operands, */
    uint32_t edges;                   /* and how many operands, the last ones, are what these put at the end */
    bool backward;                    /* it goes from the last elements to the first */
    const ag_view *view;              /* STEP_FUSED: the shape of the elements; */
    uint32_t gap, gaps;               /* STEP_FUSED: what is filled in; */
    int64_t from, blocks;             /* which of them are computed: so many rows from this one on; */
    uint32_t lanes, checked;          /* how many make a row, and of how many results, the first, NaN tells */
    void **fixed;                     /* STEP_FUSED: the rows, if they are the same in every run; */
    void *sums_at;                    /* where the sums are then, if that is side by side; */
    uint32_t fill, fills;             /* and between which operands those are that a run fills */
    int64_t saved;                    /* STEP_CALL: where in the work array its saved bytes go */
} ag_pstep;

typedef struct ag_poperand {
    ag_spot spot;
    const ag_view *view;
    const ag_view *to;    /* STEP_FUSED: the shape that it is broadcast to */
    const double *number; /* what it is if it is one constant number everywhere, else NULL */
    ag_access access;     /* STEP_FUSED, of what is read */
    bool fills;           /* a SINGLE one that code needs a whole row of */
} ag_poperand;

/* Elements from..to-1 of a result of a fused step, which are not computed, but read with others. */
typedef struct ag_pgap {
    uint32_t result;
    double number; /* what they all are */
    int64_t from, to;
} ag_pgap;

/* A shift of a fused step: to the back, or to the front if `by` is below 0. What comes from beyond the end is put together
 * from other operands. */
typedef struct ag_pshift {
    int32_t by;
    uint32_t parts, part, edge; /* of the assembly; which of them moves; the operand that is the first of the others */
    const ag_placement *where;  /* of all parts */
} ag_pshift;

/* What a thread writes to that runs lanes. */
typedef struct ag_worker {
    char *work, *sums; /* the work array; AG_LANES sums for each output, put aside */
    char *waiting;     /* rows of a chunk that are added somewhere later */
    void *block;
    size_t size, waiting_size;
} ag_worker;

/* A guard that is checked for lanes. */
typedef struct ag_pguard {
    const struct ag_guarding *guard;
    uint32_t at[3]; /* places of its operands */
} ag_pguard;

struct ag_runner {
    const ag_program *p;
    ag_runner *next; /* in the pool of a program */
    bool pooled;
    bool is_counted; /* as a reference of p; not where p's own pool has it, as p would keep itself for ever */
    ag_memory memory;
    ag_status status; /* of the plan; a run has its own in the tape's */
    ag_tape *tape;    /* where operations report errors and find scratch memory */
    const ag_kernels *kernels;
    ag_list straight, steps, operands; /* ag_straight, ag_pstep, ag_poperand */
    ag_native native;                  /* of steps, */
    ag_native_code *native_lanes;      /* and of `straight` as a whole if it is for lanes; or NULL */
    ag_list exact;                     /* ag_straight, apart from what is executed usually; of lanes, all of it */
    uint64_t chains;                   /* of lanes: how many are products in what is executed usually */
    ag_list guards;                    /* ag_pguard, of a plan for lanes */
    ag_list views;                     /* of copies: ag_view *, each its own block */
    ag_list shifts, gaps;              /* ag_pshift, ag_pgap */
    uint32_t most_shifts;              /* of one step */
    ag_array *arrays;                  /* room for the longest step */
    struct ag_fused *fused;            /* room for the largest fused step */
    uint32_t most_rows;
    uint32_t longest;
    char *work; /* aligned, in `block` */
    void *block;
    size_t block_size;
    int64_t work_count, far;
    char **base;      /* of each space, for the current run */
    char **spare;     /* of each output that the caller does not want, once it was needed */
    ag_runner *lanes; /* plans the program in scalars; `rows.c` */
    bool is_lanes;    /* this is such a plan: outputs are the first places, and the work array is for AG_LANES rows */
    void **row_at;    /* row by row: where the inputs and outputs of a row are, */
    char *row_buffer; /* and a place for outputs that are added somewhere */
    uint8_t *summed;  /* which outputs the lanes add up */
    struct ag_worker *workers; /* of a plan for lanes, once it has run */
    uint8_t *loaded;           /* of each input, whether it is copied to the work array */
    int64_t *load_at;          /* and where; */
    size_t *input_bytes;       /* how large it is */
    char message[640];
};

/* ag_run for arrays of either type. */
ag_status ag_runner_run(ag_runner *r, ag_type type, const void *const *xs, void *const *ys);
/* memcpy, which costs more to call than to do where there are few numbers. */
static inline void ag_copy_few(char *to, const char *from, size_t bytes) {
    enum { FEW = 32, WORD = sizeof(float) };
    if (bytes > FEW || bytes % WORD) memcpy(to, from, bytes);
    else
        for (size_t i = 0; i < bytes; i += WORD) memcpy(to + i, from + i, WORD);
}

/* ---- rows.c ---- */
void ag_close_workers(ag_runner *r);

/* What is cheap to compute is computed again for uses that are more than `far` bytes of results away. */
enum { AG_FAR = 4 << 20 };
ag_runner *ag_runner_plan(const ag_program *p, bool lanes, int64_t far);

/* ---- native.c ---- */
/* Gives steps their native code, where there can be any. */
void ag_translate(ag_runner *r);

/* ---- fused.c ---- */
bool ag_open_fused(ag_runner *r); /* false if there is no memory */
void ag_close_fused(ag_runner *r);
/* Runs a fused step whose operands are in r->arrays, and one with fixed rows, which needs no operands. */
void ag_run_fused(ag_runner *r, const ag_pstep *s);
void ag_run_fixed(const ag_runner *r, const ag_pstep *s);

/* Fills in straight, steps, operands, work_count, loaded, load_at. False after an error. */
bool ag_plan(ag_runner *r);
void ag_runner_fail(ag_runner *r, ag_status status, const char *format, ...) AG_FORMAT_(3, 4);
/* The work array, of zeros. False, without an error, if there is no memory. */
bool ag_runner_work(ag_runner *r, int64_t count);
void *ag_runner_add(ag_runner *r, ag_list *list, size_t size, uint64_t n);

#endif
