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

/* JSON: an array of one object a file, written as findings come. */
typedef struct ac_json_report {
    ac_sink sink;
    FILE *out;
    int files, checks;
} ac_json_report;
void ac_json_open(ac_json_report *report, FILE *out);
void ac_json_close(ac_json_report *report);

/* A number as somebody would print it: `digits` significant ones, "nan", "inf", never "-0". */
const char *ac_number_text(double x, int digits, char *text, size_t size);

#endif
