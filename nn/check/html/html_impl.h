/* What the parts of the HTML report share. Each writes to `out` what stands for itself in a page. */
#ifndef NN_CHECK_HTML_IMPL_H
#define NN_CHECK_HTML_IMPL_H

#include "nn/check/check_impl.h"
#include "nn/check/report.h"

/* Text of any bytes: escaped, and what is no UTF-8, no character of HTML, or turns the reading direction around becomes
 * U+FFFD. */
void ac_html_text(FILE *out, const char *text, size_t size);
void ac_html_string(FILE *out, const char *text);

/* A number as in the text report, with a proper minus sign and power of ten. */
void ac_html_number(FILE *out, double x, const double *unit);
/* The same of one of two numbers that differ by so much: with the digits that show it. */
void ac_html_number_apart(FILE *out, double x, const double *unit, double apart);

/* A name as a mathematician writes it: x_1 for x1, a Greek letter for alpha, a hat for yhat. */
void ac_html_name(FILE *out, const char *name);
bool ac_html_name_is_long(const char *name); /* more than one letter: two in a row need a sign between them */
bool ac_html_name_has_subscript(const char *name);

/* 0 for a number, 1 for a vector, 2 for a matrix, as far as the expression tells; else AC_UNKNOWN_RANK. */
enum { AC_UNKNOWN_RANK = -1 };
int ac_html_rank(const ac_node *node);

/* An expression in MathML; too long a one as it was typed. */
void ac_html_formula(FILE *out, const ac_source *source, const ac_node *node);
/* What a statement claims. */
void ac_html_claim(FILE *out, const ac_source *source, const ac_statement *statement);

/* A value, and claimed beside right, as tables; of large ones a part, with what is wrong first. */
void ac_html_value(FILE *out, ag_shape shape, const double *x);
void ac_html_comparison(FILE *out, const ac_finding *finding);

/* A file's text with line numbers; `verdicts` has one for each statement, and marks lead to #f<file>-l<line>. */
enum { AC_NOT_SAID, AC_SAID_HOLDS, AC_SAID_WRONG };
void ac_html_source(FILE *out, const ac_file *file, const unsigned char *verdicts, int number);

/* Drawings of the functions whose derivatives a file claims. */
typedef enum ac_graphviz { AC_GRAPHVIZ_WORKS, AC_GRAPHVIZ_ABSENT, AC_GRAPHVIZ_SLOW } ac_graphviz;
void ac_html_drawings(FILE *out, const ac_file *file, const ac_options *options, int number, ac_graphviz *graphviz);

/* Graphviz's SVG of a graph in its language, from `graph`'s start on: *svg is for nn_release. Why not, in words; or NULL. */
const char *ac_graphviz_run(FILE *graph, double seconds, char **svg, size_t *size, ac_graphviz *graphviz);

extern const char *const ac_html_style[]; /* rules of CSS, then NULL */

#endif
