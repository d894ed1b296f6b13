/* Contract 11.3, sentence by sentence. Results and what is told are written as one letter a run:
 * p passing, w warning, c critical, - nothing is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "checks/threshold.h"

struct row {
    const char *name;
    int64_t success, warning, critical;
    const char *results, *told;
};

static const struct row rows[] = {
    {"without thresholds each result counts", 0, 0, 0, "pwcpcw", "pwcpcw"},
    {"the very first result counts", 3, 0, 3, "c", "c"},
    {"the very first success counts", 3, 0, 3, "p", "p"},
    {"S successes in a row are needed", 2, 0, 0, "cpp", "c-p"},
    {"a failure starts the successes anew", 3, 0, 0, "cppcppp", "c--c--p"},
    {"warnings are successes", 2, 0, 0, "cwp", "c-p"},
    {"warning itself is held back like passing", 2, 0, 0, "cww", "c-w"},
    {"C failures in a row are needed", 0, 0, 3, "pccc", "p--c"},
    {"a success starts the failures anew", 0, 0, 3, "pccpccc", "p--p--c"},
    {"a warning starts the failures anew", 0, 0, 2, "pcwcc", "p-w-c"},
    {"from W on failures are told as warnings", 0, 2, 4, "pcccc", "p-wwc"},
    {"W is C when it is unset", 0, 0, 2, "pcc", "p-c"},
    {"W = 1 tells the first failure", 0, 1, 3, "pccc", "pwwc"},
    {"all three", 2, 1, 2, "pcccppc", "pwcc-pw"},
    {"once critical it stays so", 0, 0, 2, "pccccc", "p-cccc"},
};

static void test_table(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        struct threshold threshold;
        threshold_init(&threshold, row->success, row->warning, row->critical);
        char told[16] = "";
        for (size_t at = 0; row->results[at] != '\0'; at++) {
            enum catalog_health health = row->results[at] == 'p'   ? HEALTH_PASSING
                                         : row->results[at] == 'w' ? HEALTH_WARNING
                                                                   : HEALTH_CRITICAL;
            bool tell = threshold_apply(&threshold, health, &health);
            told[at] = tell ? "pwc"[health] : '-';
        }
        if (strcmp(told, row->told) != 0) {
            fail_msg("%s: results %s, told %s, expected %s", row->name, row->results, told,
                     row->told);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
