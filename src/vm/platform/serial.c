/* serial - see serial.h.  Registers as in the PC16550D data sheet: as much of it as Linux's driver
 * finds when it asks which chip this is (scratch register, FIFO bits, loopback of the modem lines).
 * Sending takes no time, so the transmitter is always empty, and its interrupt is pending from when
 * it was asked for or answered until the guest has read why.
 *
 * Nothing is buffered: a byte is written when it is sent, and a reader that does not read blocks
 * the vCPU that prints and no other (the lock is this port's own).  A kick ends the wait and loses
 * the byte.
 *
 * The last line is kept, only to recognise a kernel's panic message: it explains the reset that
 * follows. */
#include "vm/platform/serial.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"

enum {
	REG_DATA,             /* and the divisor's low byte */
	REG_INTERRUPT_ENABLE, /* and its high byte */
	REG_INTERRUPT_ID,     /* reading; writing: FIFO control */
	REG_LINE_CONTROL,
	REG_MODEM_CONTROL,
	REG_LINE_STATUS,
	REG_MODEM_STATUS,
	REG_SCRATCH,

	INTERRUPT_MASK = 0x0f,
	INTERRUPT_SENT = 1 << 1,
	ID_NONE = 1,
	ID_SENT = 2,
	ID_FIFO = 0xc0,
	FIFO_ENABLE = 1,
	LINE_DIVISOR = 1 << 7,
	MODEM_MASK = 0x1f,
	MODEM_LOOP = 1 << 4,
	LINE_STATUS_EMPTY = 0x60,
	MODEM_STATUS_READY = 0xb0 /* carrier, data set ready, clear to send */
};

struct serial {
	int fd; /* borrowed */
	void (*irq)(void *context, bool level);
	void *context; /* borrowed */

	pthread_mutex_t lock; /* guards all below */
	uint8_t divisor[2], interrupt_enable, line_control, modem_control, scratch;
	bool has_fifo, is_sent_pending, irq_level;
	char line[SERIAL_PANIC_MAX], panic[SERIAL_PANIC_MAX];
	size_t line_len;
};

struct serial *serial_new(int fd, void (*irq)(void *context, bool level), void *context)
{
	struct serial *serial = NEW(serial);
	serial->fd = fd;
	serial->irq = irq;
	serial->context = context;
	(void)pthread_mutex_init(&serial->lock, NULL);
	return serial;
}

void serial_free(struct serial *serial)
{
	if (serial == NULL)
		return;
	(void)pthread_mutex_destroy(&serial->lock);
	free(serial);
}

static bool is_interrupting(const struct serial *serial)
{
	return serial->is_sent_pending && (serial->interrupt_enable & INTERRUPT_SENT) != 0;
}

static void update_irq(struct serial *serial)
{
	bool level = is_interrupting(serial);
	if (level == serial->irq_level)
		return;
	serial->irq_level = level;
	serial->irq(serial->context, level);
}

static void end_line(struct serial *serial)
{
	static const char panic[] = "Kernel panic - not syncing: ";
	serial->line[serial->line_len] = 0;
	const char *found = strstr(serial->line, panic);
	if (found != NULL && serial->panic[0] == 0) {
		found += sizeof(panic) - 1;
		memcpy(serial->panic, found, strlen(found) + 1);
	}
	serial->line_len = 0;
}

static void send(struct serial *serial, uint8_t byte)
{
	if (serial->fd >= 0)
		(void)!write(serial->fd, &byte, 1);
	if (byte == '\n')
		end_line(serial);
	else if (byte != '\r' && byte != 0 && serial->line_len < sizeof(serial->line) - 1)
		serial->line[serial->line_len++] = (char)byte;
	serial->is_sent_pending = true;
}

static uint8_t read_id(struct serial *serial)
{
	uint8_t id = is_interrupting(serial) ? ID_SENT : ID_NONE;
	if (id == ID_SENT)
		serial->is_sent_pending = false;
	return (uint8_t)(id | (serial->has_fifo ? ID_FIFO : 0));
}

/* In loopback the outputs come back as inputs: DTR as DSR, RTS as CTS, OUT1 as RI, OUT2 as DCD. */
static uint8_t modem_status(const struct serial *serial)
{
	unsigned control = serial->modem_control;
	if ((control & MODEM_LOOP) == 0)
		return MODEM_STATUS_READY;
	return (uint8_t)((control & 1) << 5 | (control & 2) << 3 | (control & 4) << 4 |
			 (control & 8) << 4);
}

static uint8_t read_register(struct serial *serial, unsigned offset)
{
	bool is_divisor = (serial->line_control & LINE_DIVISOR) != 0;
	switch (offset) {
	case REG_DATA: return is_divisor ? serial->divisor[0] : 0;
	case REG_INTERRUPT_ENABLE:
		return is_divisor ? serial->divisor[1] : serial->interrupt_enable;
	case REG_INTERRUPT_ID: return read_id(serial);
	case REG_LINE_CONTROL: return serial->line_control;
	case REG_MODEM_CONTROL: return serial->modem_control;
	case REG_LINE_STATUS: return LINE_STATUS_EMPTY;
	case REG_MODEM_STATUS: return modem_status(serial);
	case REG_SCRATCH: return serial->scratch;
	default: return 0xff;
	}
}

static void write_data(struct serial *serial, uint8_t value)
{
	if ((serial->line_control & LINE_DIVISOR) != 0)
		serial->divisor[0] = value;
	else if ((serial->modem_control & MODEM_LOOP) == 0)
		send(serial, value);
}

static void write_interrupt_enable(struct serial *serial, uint8_t value)
{
	if ((serial->line_control & LINE_DIVISOR) != 0) {
		serial->divisor[1] = value;
		return;
	}
	/* Switched on while nothing waits to be sent: it comes at once. */
	if ((value & INTERRUPT_SENT) != 0 && (serial->interrupt_enable & INTERRUPT_SENT) == 0)
		serial->is_sent_pending = true;
	serial->interrupt_enable = value & INTERRUPT_MASK;
}

static void write_register(struct serial *serial, unsigned offset, uint8_t value)
{
	switch (offset) {
	case REG_DATA: write_data(serial, value); break;
	case REG_INTERRUPT_ENABLE: write_interrupt_enable(serial, value); break;
	case REG_INTERRUPT_ID: serial->has_fifo = (value & FIFO_ENABLE) != 0; break;
	case REG_LINE_CONTROL: serial->line_control = value; break;
	case REG_MODEM_CONTROL: serial->modem_control = value & MODEM_MASK; break;
	case REG_SCRATCH: serial->scratch = value; break;
	default: break;
	}
}

uint8_t serial_read(struct serial *serial, unsigned offset)
{
	(void)pthread_mutex_lock(&serial->lock);
	uint8_t value = read_register(serial, offset);
	update_irq(serial);
	(void)pthread_mutex_unlock(&serial->lock);
	return value;
}

void serial_write(struct serial *serial, unsigned offset, uint8_t value)
{
	(void)pthread_mutex_lock(&serial->lock);
	write_register(serial, offset, value);
	update_irq(serial);
	(void)pthread_mutex_unlock(&serial->lock);
}

void serial_panic(struct serial *serial, char ret_text[SERIAL_PANIC_MAX])
{
	/* A vCPU that waits for a reader holds the lock; then there is nothing to tell. */
	ret_text[0] = 0;
	if (pthread_mutex_trylock(&serial->lock) != 0)
		return;
	memcpy(ret_text, serial->panic, SERIAL_PANIC_MAX);
	(void)pthread_mutex_unlock(&serial->lock);
}
