/* What the parser's parts share: parser.c has words and names, expression.c and statement.c what is made of them. */
#ifndef NN_CHECK_PARSER_IMPL_H
#define NN_CHECK_PARSER_IMPL_H

#include "nn/check/lexer.h"
#include "nn/memory.h"

#define uthash_malloc(size) nn_allocate(1, size)
#define uthash_free(memory, size) nn_release(memory)
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* A name of the file. */
struct ac_entry {
    ac_symbol *symbol;
    UT_hash_handle hh;
};

/* A growing array of pointers. */
typedef struct ac_list {
    void **items;
    int count, capacity;
} ac_list;

typedef struct ac_parser {
    const ac_file *file;
    ac_error *error;
    ac_lexer lexer;
    ac_token token; /* the next one */
    uint32_t end;   /* of the one before */
    uint32_t read;  /* what was read up to here was reported */
    ac_entry *names;
    ac_list statements, symbols;
    uint32_t start;       /* of the statement: names that are defined behind it are not known yet */
    ac_span label, claim; /* of a check; the label's end is 0 if it has none */
    ac_list locals;       /* in scope */
    int frame_size;       /* of the statement */
    ac_list uses;         /* of the statement */
    bool random;
    int depth;
    int nesting;             /* of derivatives within derivatives, at most */
    unsigned words;          /* that were read */
    ac_list items;           /* of the lists and calls being read, one behind the other */
    double *numbers, *units; /* of the array being read */
    size_t number_count, number_capacity;
} ac_parser;

/* ---- memory: in the file's arena; NULL or false, with an error, if there is none -------------------------------- */

bool ac_fail_memory(ac_parser *p);
void *ac_take(ac_parser *p, size_t count, size_t size);
bool ac_add(ac_parser *p, ac_list *l, void *item);
/* The items from `start` on, moved to the arena. */
void *ac_keep(ac_parser *p, ac_list *l, int start);

/* ---- words ------------------------------------------------------------------------------------------------------ */

static inline const char *text_of(const ac_parser *p, ac_span span) { return p->file->source.text + span.start; }
static inline size_t length_of(ac_span span) { return span.end - span.start; }

static inline bool is_mark(const ac_parser *p, char mark) { return p->token.kind == AC_MARK && p->token.mark == mark; }

static inline bool is_word(const ac_parser *p, const char *word) {
    return p->token.kind == AC_WORD && length_of(p->token.span) == strlen(word) &&
           memcmp(text_of(p, p->token.span), word, strlen(word)) == 0;
}

void ac_advance(ac_parser *p);
/* An error at the next token: what should be there, and what is. */
bool ac_fail_expected(ac_parser *p, const char *expected);
bool ac_expect_mark(ac_parser *p, char mark, const char *expected);

/* ---- names ------------------------------------------------------------------------------------------------------ */

ac_symbol *ac_find_symbol(ac_parser *p, ac_span span);
ac_symbol *ac_new_symbol(ac_parser *p, ac_symbol_kind kind, ac_span span);
/* Locals of one scope are open at a time: those of a function, and of equations within equations. */
ac_symbol *ac_open_local(ac_parser *p, ac_span span);
bool ac_add_use(ac_parser *p, ac_symbol *s);
bool ac_fail_unknown(ac_parser *p, ac_span span, bool call);
/* May this word be a name? */
bool ac_check_word(ac_parser *p, ac_span name);

/* ---- expressions and statements --------------------------------------------------------------------------------- */

ac_node *ac_parse_sum(ac_parser *p);
/* Items up to a closing mark, which is taken; onto p->items. */
bool ac_parse_items(ac_parser *p, char close, const char *expected);
/* How many arguments there may be; `usage` is a hint, or NULL. */
bool ac_check_count(ac_parser *p, ac_span name, int count, int least, int most, const char *usage);

/* All of them, checked; they do not keep their expressions. */
bool ac_parse_statements(ac_parser *p);
/* What is behind a name that is being defined. */
bool ac_parse_definition(ac_parser *p, ac_symbol *s);
/* The sides of a check, or what is shown. */
bool ac_parse_sides(ac_parser *p, ac_statement *s);

#endif
