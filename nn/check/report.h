/* What adcheck says, as text, JSON and HTML: sinks for findings. */
#ifndef NN_CHECK_REPORT_H
#define NN_CHECK_REPORT_H

#include "nn/check/check.h"

/* Text: a line a check, then what is wrong; errors on `errors`, with the line and a caret. */
typedef struct ac_text_report {
    ac_sink sink;
    FILE *out, *errors;
    bool colour;
    int label_width, line_width; /* in this file */
    int files, failed;
    ac_tally total;
} ac_text_report;
void ac_text_open(ac_text_report *report, FILE *out, FILE *errors, bool colour);
void ac_text_close(ac_text_report *report); /* the total, if there was more than one file */

/* Writes file:line:column: message, the line, a caret under the place, and the hint. */
void ac_write_error(const ac_file *file, FILE *errors, bool colour);

/* The line of a file's error and a caret under the place, both indented; of a long line the part around it. False, and
 * nothing, if there is no line. */
bool ac_write_place(const ac_file *file, const char *indent, FILE *out);

/* JSON: an array of one object a file, written as findings come. */
typedef struct ac_json_report {
    ac_sink sink;
    FILE *out;
    int files, checks;
} ac_json_report;
void ac_json_open(ac_json_report *report, FILE *out);
void ac_json_close(ac_json_report *report);

/* HTML: one page for all files, that needs nothing else. It is written by ac_html_close; until then it grows in temporary
 * files. */
typedef struct ac_html_report {
    ac_sink sink;
    const ac_options *options;
    FILE *out;
    FILE *overview, *files,
        *claims;             /* temporary: the list of files, those that are done, and what is said of this one */
    unsigned char *verdicts; /* of this file's statements; NULL if there is no memory */
    int statement, open;     /* the one that was reached; whether the list of its claims is open */
    int file_count, stopped, graphviz;
    bool broken; /* something could not be kept */
    ac_tally total;
} ac_html_report;
/* False if there is no place for temporary files; then close it all the same. Options have to last. */
bool ac_html_open(ac_html_report *report, FILE *out, const ac_options *options);
bool ac_html_close(ac_html_report *report); /* false: the page is not whole */

/* A file that appears under its name when it is whole, and not before. */
typedef struct ac_output {
    FILE *file;
    char *path, *temporary; /* where it belongs, and where it is; temporary is NULL for what is no plain file */
} ac_output;
/* False, with errno set, if it cannot be written; then nothing is left to close. */
bool ac_output_open(ac_output *output, const char *path);
/* Puts it in its place if it is whole, else removes it; false, with errno set, if it is not there now. */
bool ac_output_close(ac_output *output, bool whole);

/* A number as somebody would print it: `digits` significant ones, "nan", "inf", never "-0". */
const char *ac_number_text(double x, int digits, char *text, size_t size);
/* With as many decimals as were printed, if `unit` (of its last digit) is given: 0.34 stays 0.34 and 1.0 stays 1.0. */
const char *ac_printed_text(double x, const double *unit, char *text, size_t size);

#endif
