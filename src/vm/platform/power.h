/* power - what a guest writes to switch its machine off or to start it again. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum power_request { POWER_NONE, POWER_OFF, POWER_RESET };

bool power_has_port(uint16_t port);
/* What one byte written to one of these ports asks for. */
enum power_request power_write(uint16_t port, uint8_t value);
/* What they read as. */
uint8_t power_read(uint16_t port);
