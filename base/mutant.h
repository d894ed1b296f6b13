/* Planted bugs: MUTANT(name) is false, at no cost, in every build but the simulator's, where one
 * bug can be switched on by name to prove that the checkers see it (docs/TESTING.md). */
#ifndef BASE_MUTANT_H
#define BASE_MUTANT_H

#include <stdbool.h>

#ifdef CAIRN_MUTANTS
/* Defined by the simulator. */
bool mutant_is_on(const char *name);
#define MUTANT(name) mutant_is_on(#name)
#else
#define MUTANT(name) false
#endif

#endif
