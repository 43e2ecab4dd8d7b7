/* Are the claims of a file right, and if not, what is wrong with them? */
#ifndef NN_CHECK_CHECK_H
#define NN_CHECK_CHECK_H

#include "nn/check/claim.h"
#include "nn/check/evaluate.h"
#include "nn/check/syntax.h"

enum { AC_DRAWS = 200, AC_MAX_DRAWS = 1000000 };

typedef struct ac_options {
    int draws;     /* of the quantified names in a law; 0: AC_DRAWS */
    uint64_t seed; /* of them */
    ac_limits limits;
} ac_options;

/* What two other ways say to the derivatives in a claim: forward mode, and central differences. */
typedef struct ac_witness {
    bool asked; /* there is a derivative in the claim */
    bool agrees;
    const char *way;    /* "forward mode" or "central differences": the one that does not agree */
    double tape, other; /* the derivative along some direction, by the tape and by that way */
    char text[120];     /* of which derivative */
} ac_witness;

/* What was found about one claim. Arrays are row-major and last until the function that gets it returns. */
typedef struct ac_finding {
    const ac_statement *statement;
    bool law;
    int draws;
    nn_comparison comparison; /* at the worst draw */
    ag_shape claimed_shape, right_shape;
    const double *claimed, *right; /* there */
    const double *unit;            /* of the claimed numbers, if they are printed ones; or NULL */
    nn_diagnosis diagnosis;
    ac_witness witness;
} ac_finding;

/* A value to show. */
typedef struct ac_shown {
    const ac_statement *statement;
    ag_shape shape;
    const double *value;
} ac_shown;

typedef struct ac_tally {
    int checks, hold, wrong;
} ac_tally;

/* Where findings go, as they come: memory does not grow with their number. Functions may be NULL. `evaluator` has what is
 * recorded at that moment. */
typedef struct ac_sink {
    void *context;
    void (*begin)(void *context, const ac_file *file);
    void (*found)(void *context, const ac_file *file, const ac_finding *finding);
    void (*shown)(void *context, const ac_file *file, const ac_shown *shown);
    void (*end)(void *context, const ac_file *file, const ac_tally *tally); /* file->error says how it ended */
} ac_sink;

/* Reads and checks a text. Returns the exit status: 0 every check holds, 1 some are wrong, 2 it could not be understood. */
int ac_check_text(const ac_source *source, const ac_options *options, const ac_sink *const *sinks, int sink_count);

/* The same for a file that could not even be read: `why` becomes its error. */
int ac_check_unreadable(const char *name, const char *why, const ac_sink *const *sinks, int sink_count);

/* Records what a file's definitions describe (at the first draw), sweeps from the function whose derivative is claimed
 * last, and writes the graph for Graphviz, with names, values and adjoints. False if the file cannot be understood, or
 * writing failed. */
bool ac_draw(const ac_source *source, const ac_options *options, FILE *out);

/* Prints the gradient of the number named f by x as a C function, df_dx: its arguments are x and the names that stand for
 * numbers or draws on which f depends otherwise. False, with a message, if there is no such gradient. */
bool ac_emit_c(const ac_source *source, const ac_options *options, const char *f, const char *x, FILE *out,
               char *message, size_t room);

#endif
