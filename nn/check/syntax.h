/* The language of derivations, as a tree: what adcheck reads. */
#ifndef NN_CHECK_SYNTAX_H
#define NN_CHECK_SYNTAX_H

#include <autograd/autograd.h>

/* What a file may be at most; beyond it there is a message. */
typedef struct ac_limits {
    size_t bytes;   /* of memory for what was read, and for the tape; 0: 1 GiB */
    double seconds; /* for one file; 0: 60 */
} ac_limits;

enum {
    AC_MAX_BYTES = 64 << 20, /* of one file */
    AC_MAX_STATEMENTS = 100000,
    AC_MAX_DEPTH = 500,       /* of one expression: brackets, signs, operations in a row */
    AC_MAX_CALL_DEPTH = 3000, /* of expressions within functions within functions */
    AC_MAX_NUMBERS = 1 << 22, /* of one value */
    AC_MAX_DET = 500,         /* rows of a determinant */
    AC_MAX_NAME = 200,        /* bytes */
    AC_MAX_ARGUMENTS = 100,   /* of a function of the file */
    AC_MAX_NESTING = 127      /* of derivatives; solve() is exact up to it */
};

/* ---- text ------------------------------------------------------------------------------------------------------- */

/* A part of the source, in bytes. */
typedef struct ac_span {
    uint32_t start, end;
} ac_span;

/* The first thing that could not be understood or done. */
typedef struct ac_error {
    bool set;
    bool late; /* what was said last came after the first thing: it does not count */
    ac_span span;
    char message[480];
    char hint[160]; /* what was meant, perhaps; or "" */
} ac_error;

typedef struct ac_source {
    const char *name; /* of the file, for messages */
    const char *text; /* ends with '\0' behind `size` bytes */
    size_t size;
    /* Called now and then: so many more bytes were read, and are not needed for now. Or NULL. */
    void (*was_read)(void *context, size_t bytes);
    void *context;
} ac_source;

/* The character that a text of `size` bytes starts with (RFC 3629: no overlong forms, no surrogates), and its length; 0 if
 * it is not UTF-8, or there is none. */
int ac_decode(const char *text, size_t size, uint32_t *code);
/* Characters that a terminal takes for a command, or that turn the order of what follows: no report shows them. */
bool ac_is_control(uint32_t code);
/* Columns of a terminal that a character takes: 0 for an accent, 2 for most of East Asia. */
int ac_width(uint32_t code);

/* Line and column (in characters) from 1. */
typedef struct ac_place {
    int64_t line, column;
} ac_place;
ac_place ac_place_of(const ac_source *source, uint32_t offset);

/* The first error stays. Always false. */
bool ac_fail(ac_error *error, ac_span span, const char *format, ...) AG_FORMAT_(3, 4);
/* Right behind ac_fail. */
void ac_hint(ac_error *error, const char *format, ...) AG_FORMAT_(2, 3);

/* ---- names ------------------------------------------------------------------------------------------------------ */

typedef struct ac_file ac_file;
typedef struct ac_node ac_node;
typedef struct ac_function ac_function;
typedef struct ac_symbol ac_symbol;

typedef enum ac_symbol_kind {
    AC_VALUE,      /* NAME = EXPR */
    AC_QUANTIFIED, /* NAME ~ DIST */
    AC_DEFINED,    /* NAME(ARG, ...) = EXPR */
    AC_LOCAL       /* an argument of a function, or what an equation is solved for */
} ac_symbol_kind;

typedef enum ac_distribution { AC_NORMAL, AC_UNIFORM, AC_POSITIVE, AC_ONEHOT, AC_SIMPLEX } ac_distribution;

struct ac_symbol {
    const ac_file *file;
    ac_symbol_kind kind;
    const char *name;
    ac_span span;     /* where it was defined */
    int index;        /* of a local: in the frame of its function; else: in the file, in order of definition */
    bool random;      /* depends on a quantified name */
    int nesting;      /* derivatives within derivatives in what defines it */
    int frame_size;   /* locals in what defines it */
    ac_symbol **uses; /* global names in what defines it */
    int use_count;
    int used_in;                  /* the last statement that does, from 1 */
    bool given;                   /* AC_VALUE: by numbers, as they stand there; AC_QUANTIFIED */
    int argument_count;           /* AC_DEFINED */
    ac_distribution distribution; /* AC_QUANTIFIED */
    int parameter_count;
    /* What it is defined by; NULL unless it is being used: see ac_read_definition. */
    ac_node *body;        /* AC_VALUE, AC_DEFINED */
    ac_node **parameters; /* AC_QUANTIFIED */
    ac_symbol *before;    /* the one whose definition was read before */
};

/* ---- expressions ------------------------------------------------------------------------------------------------ */

typedef enum ac_kind {
    AC_NUMBER,
    AC_ARRAY, /* a vector or matrix of numbers */
    AC_LIST,  /* a vector or matrix of expressions, or a matrix of rows */
    AC_NAME,
    AC_NEGATE,    /* operand 0 */
    AC_TRANSPOSE, /* operand 0 */
    AC_ADD,       /* operands 0 and 1, as the next five */
    AC_SUBTRACT,
    AC_MULTIPLY,
    AC_DIVIDE,
    AC_MATMUL,
    AC_POWER,
    AC_INDEX, /* operand 0 at operand 1 (and operand 2); NULL for ':' */
    AC_CALL,  /* a built-in function */
    AC_APPLY, /* a function of the file */
    AC_GRAD,  /* of operand 0 by operand 1, as the next two */
    AC_JAC,
    AC_HESS,
    AC_SOLVE /* operand 0 == operand 1, `symbol` from operand 2 */
} ac_kind;

struct ac_node {
    ac_kind kind;
    ac_span span;
    int depth;   /* of the tree below */
    int nesting; /* derivatives within derivatives */
    int operand_count;
    ac_node **operands;
    ac_symbol *symbol;           /* AC_NAME, AC_APPLY, AC_SOLVE */
    const ac_function *function; /* AC_CALL */
    /* AC_NUMBER, AC_ARRAY: values, and what one unit of the last printed digit is worth (literal.h) */
    ag_shape shape;
    const double *values, *units;
};

static inline bool ac_is_derivative(const ac_node *node) { return node->kind >= AC_GRAD && node->kind <= AC_HESS; }
/* Only numbers and signs: as printed. */
bool ac_is_literal(const ac_node *node);

/* ---- memory ------------------------------------------------------------------------------------------------------ */

typedef struct ac_arena ac_arena;
/* Memory that is freed as one; NULL if there is none, or this would be more than `most` bytes. */
ac_arena *ac_arena_new(size_t most);
bool ac_arena_is_full(const ac_arena *arena);
size_t ac_arena_held(const ac_arena *arena);                     /* bytes */
void *ac_arena_take(ac_arena *arena, size_t count, size_t size); /* zeroed */
void ac_arena_free(ac_arena *arena);

/* What is taken after a place is given back by going back to it. */
typedef struct ac_arena_mark {
    struct ac_block *block;
    size_t used;
} ac_arena_mark;
ac_arena_mark ac_arena_place(const ac_arena *arena);
void ac_arena_rewind(ac_arena *arena, ac_arena_mark mark);

/* ---- files ------------------------------------------------------------------------------------------------------ */

typedef enum ac_statement_kind { AC_DEFINE, AC_CHECK, AC_SHOW } ac_statement_kind;

typedef struct ac_statement {
    ac_statement_kind kind;
    ac_span span;
    int64_t line;          /* where it starts */
    ac_symbol *symbol;     /* AC_DEFINE, of any kind */
    const char *label;     /* AC_CHECK: as written, or what is claimed, as text */
    ac_node *left, *right; /* AC_CHECK; AC_SHOW: left. NULL unless they are being used: see ac_read_sides */
    ac_node *within;       /* or NULL */
    ac_symbol **uses;      /* as those of a symbol */
    int use_count;
    int frame_size;
    bool random;
} ac_statement;

typedef struct ac_entry ac_entry;

/* A file that was read. Everything but the text lives in its arena. */
struct ac_file {
    ac_source source;
    ac_arena *arena;
    ac_statement **statements;
    int statement_count;
    ac_symbol **symbols; /* global ones, in order of definition */
    int symbol_count;
    ac_symbol **read; /* the one whose definition was read last: a stack */
    ac_entry *names;  /* of the symbols */
    int nesting;      /* of derivatives within derivatives, at most */
    ac_error error;   /* not set: understood */
    ac_limits limits;
    double deadline; /* by ac_clock */
};

/* Reads a file. Never NULL unless there is no memory at all; see error. The text has to last as long as the file. Expressions are read for errors, and again when they are needed: what is kept is names,
 * and what is known of them. */
ac_file *ac_parse(const ac_source *source, ac_limits limits);

/* Reads the sides of a check, or what is shown, into the arena. False, with an error, if there is no memory or time. */
bool ac_read_sides(const ac_file *file, ac_statement *statement, ac_error *error);
/* Reads what a global name is defined by, unless that was done; likewise. The error may be NULL. */
bool ac_read_definition(ac_symbol *symbol, ac_error *error);

/* A place in what is read: going back to it forgets the definitions that were read since, and the sides of the statement
 * (or NULL). */
typedef struct ac_bookmark {
    ac_arena_mark arena;
    ac_symbol *read;
} ac_bookmark;
ac_bookmark ac_bookmark_here(const ac_file *file);
void ac_go_back(const ac_file *file, ac_bookmark bookmark, ac_statement *statement);

/* False, with an error at the span, if time is up. */
bool ac_is_in_time(const ac_file *file, ac_error *error, ac_span span);
double ac_clock(void); /* seconds */
void ac_file_free(ac_file *file);

/* The text of an expression, on one line, in a buffer that cuts it off; returns `text`. */
char *ac_text_of(const ac_source *source, ac_span span, char *text, size_t size);

#endif
