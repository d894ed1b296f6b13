/* The commands of the program, one table in main.c. argv holds what follows the command's name; the
 * result is the exit code. */
#ifndef AGENT_COMMAND_H
#define AGENT_COMMAND_H

int command_agent(int argc, char **argv);
int command_reload(int argc, char **argv);
int command_validate(int argc, char **argv);
int command_version(int argc, char **argv);

#endif
