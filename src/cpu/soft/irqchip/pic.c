/* pic - see pic.h (Intel 8259A data sheet; the edge/level registers are the 82371's).
 *
 * priority_add is the input that has the highest priority; it rotates.  The cascade is computed,
 * not stored: the second chip's output is input 2 of the first whenever that is looked at. */
#include "cpu/soft/irqchip/pic.h"

enum { INPUTS = 8, CASCADE = 2, SPURIOUS = 7 };
enum { ICW1 = 0x10, ICW1_ICW4 = 0x01, OCW3 = 0x08 };
enum { ICW4_AUTO_EOI = 0x02, ICW4_NESTED = 0x10 };
/* init_state: which initialization word comes next at the odd port. */
enum { READY, ICW2, ICW3, ICW4 };

static const struct {
	uint16_t port;
	uint8_t chip, elcr_mask;
	enum { COMMAND, DATA, ELCR } kind;
} ports[] = {
	{ 0x20, 0, 0, COMMAND },
	{ 0x21, 0, 0, DATA },
	{ 0xa0, 1, 0, COMMAND },
	{ 0xa1, 1, 0, DATA },
	/* The timer, the keyboard, the cascade, the clock and the FPU are edges for ever. */
	{ 0x4d0, 0, 0xf8, ELCR },
	{ 0x4d1, 1, 0xde, ELCR },
};

enum { PORTS = sizeof(ports) / sizeof(ports[0]) };

static unsigned port_index(uint16_t port)
{
	unsigned i = 0;
	while (i < PORTS && ports[i].port != port)
		i++;
	return i;
}

bool pic_has_port(uint16_t port)
{
	return port_index(port) < PORTS;
}

/* ---- inputs ---- */

/* How far the highest of these inputs is from the highest priority; INPUTS when there is none. */
static unsigned distance(const struct kvm_pic_state *c, unsigned inputs)
{
	for (unsigned d = 0; d < INPUTS; d++) {
		if ((inputs >> ((c->priority_add + d) % INPUTS) & 1) != 0)
			return d;
	}
	return INPUTS;
}

static bool is_first(const struct pic *pic, const struct kvm_pic_state *c)
{
	return c == &pic->chips[0];
}

static int next_input(const struct pic *pic, const struct kvm_pic_state *c)
{
	unsigned irr = c->irr;
	if (is_first(pic, c) && next_input(pic, &pic->chips[1]) >= 0)
		irr |= 1u << CASCADE;
	unsigned isr = c->isr;
	if (c->special_mask != 0)
		isr &= ~(unsigned)c->imr;
	/* The second chip may interrupt its own service: what it lets through is higher. */
	if (is_first(pic, c) && c->special_fully_nested_mode != 0)
		isr &= ~(1u << CASCADE);
	unsigned d = distance(c, irr & ~(unsigned)c->imr);
	return d < distance(c, isr) ? (int)((c->priority_add + d) % INPUTS) : -1;
}

static void set_input(struct kvm_pic_state *c, unsigned input, bool level)
{
	uint8_t bit = (uint8_t)(1u << input), up = level ? bit : 0;
	bool is_rising = level && (c->last_irr & bit) == 0;
	c->last_irr = (uint8_t)((c->last_irr & ~bit) | up);
	if ((c->elcr & bit) != 0)
		c->irr = (uint8_t)((c->irr & ~bit) | up);
	else if (is_rising)
		c->irr |= bit;
}

void pic_set_line(struct pic *pic, unsigned irq, bool level)
{
	if (irq < 2 * INPUTS && irq != CASCADE)
		set_input(&pic->chips[irq / INPUTS], irq % INPUTS, level);
}

bool pic_output(const struct pic *pic)
{
	return next_input(pic, &pic->chips[0]) >= 0;
}

/* ---- service ---- */

static void acknowledge_input(struct kvm_pic_state *c, unsigned input)
{
	uint8_t bit = (uint8_t)(1u << input);
	if ((c->elcr & bit) == 0)
		c->irr &= (uint8_t)~bit;
	if (c->auto_eoi == 0)
		c->isr |= bit;
	else if (c->rotate_on_auto_eoi != 0)
		c->priority_add = (uint8_t)((input + 1) % INPUTS);
}

uint8_t pic_acknowledge(struct pic *pic)
{
	struct kvm_pic_state *c = &pic->chips[0];
	int input = next_input(pic, c);
	/* The line fell in the meantime: the data sheet's default input 7. */
	if (input < 0)
		return (uint8_t)(c->irq_base + SPURIOUS);
	/* Before the first chip's cascade is in service, which would hide the second chip's. */
	int second = input == CASCADE ? next_input(pic, &pic->chips[1]) : -1;
	acknowledge_input(c, (unsigned)input);
	if (second < 0)
		return (uint8_t)(c->irq_base + input);
	acknowledge_input(&pic->chips[1], (unsigned)second);
	return (uint8_t)(pic->chips[1].irq_base + second);
}

/* ---- commands ---- */

static void initialize(struct kvm_pic_state *c, uint8_t icw1)
{
	/* What is not programmed by the words that follow: an edge has to rise again. */
	*c = (struct kvm_pic_state){
		.elcr = c->elcr,
		.elcr_mask = c->elcr_mask,
		.last_irr = c->last_irr,
		.irr = c->irr & c->elcr,
		.irq_base = c->irq_base,
		.init4 = icw1 & ICW1_ICW4,
		.init_state = ICW2,
	};
}

static void end_of_interrupt(struct kvm_pic_state *c, unsigned input, bool is_rotating)
{
	c->isr &= (uint8_t) ~(1u << input);
	if (is_rotating)
		c->priority_add = (uint8_t)((input + 1) % INPUTS);
}

/* OCW2: bits 7 to 5 say what is rotated and ended, bits 2 to 0 which input. */
static void command2(struct kvm_pic_state *c, uint8_t value)
{
	unsigned input = value & 7u, d = distance(c, c->isr);
	switch (value >> 5) {
	case 0: c->rotate_on_auto_eoi = 0; return;
	case 4: c->rotate_on_auto_eoi = 1; return;
	case 1:
	case 5:
		if (d < INPUTS)
			end_of_interrupt(c, (c->priority_add + d) % INPUTS, value >> 5 == 5);
		return;
	case 3: end_of_interrupt(c, input, false); return;
	case 7: end_of_interrupt(c, input, true); return;
	case 6: c->priority_add = (uint8_t)((input + 1) % INPUTS); return;
	default: return;
	}
}

static void command3(struct kvm_pic_state *c, uint8_t value)
{
	if ((value & 0x04) != 0)
		c->poll = 1;
	if ((value & 0x02) != 0)
		c->read_reg_select = value & 1;
	if ((value & 0x40) != 0)
		c->special_mask = (value >> 5) & 1;
}

static void write_data(struct pic *pic, struct kvm_pic_state *c, uint8_t value)
{
	switch (c->init_state) {
	case ICW2:
		c->irq_base = value & 0xf8;
		c->init_state = ICW3;
		return;
	/* The wiring is what it is. */
	case ICW3: c->init_state = c->init4 != 0 ? ICW4 : READY; return;
	case ICW4:
		c->special_fully_nested_mode = is_first(pic, c) && (value & ICW4_NESTED) != 0;
		c->auto_eoi = (value & ICW4_AUTO_EOI) != 0;
		c->init_state = READY;
		return;
	default: c->imr = value; return;
	}
}

/* A poll is an acknowledge cycle without one (data sheet, "poll command"). */
static uint8_t poll(struct pic *pic, struct kvm_pic_state *c)
{
	int input = next_input(pic, c);
	c->poll = 0;
	if (input < 0)
		return 0;
	acknowledge_input(c, (unsigned)input);
	return (uint8_t)(0x80 | input);
}

uint8_t pic_read(struct pic *pic, uint16_t port)
{
	unsigned i = port_index(port);
	if (i == PORTS)
		return 0xff;
	struct kvm_pic_state *c = &pic->chips[ports[i].chip];
	if (ports[i].kind == ELCR)
		return c->elcr;
	if (c->poll != 0)
		return poll(pic, c);
	if (ports[i].kind == DATA)
		return c->imr;
	return c->read_reg_select != 0 ? c->isr : c->irr;
}

void pic_write(struct pic *pic, uint16_t port, uint8_t value)
{
	unsigned i = port_index(port);
	if (i == PORTS)
		return;
	struct kvm_pic_state *c = &pic->chips[ports[i].chip];
	if (ports[i].kind == ELCR)
		c->elcr = value & c->elcr_mask;
	else if (ports[i].kind == DATA)
		write_data(pic, c, value);
	else if ((value & ICW1) != 0)
		initialize(c, value);
	else if ((value & OCW3) != 0)
		command3(c, value);
	else
		command2(c, value);
}

void pic_init(struct pic *pic)
{
	/* Masked, as firmware leaves them: a kernel that never programs them (Linux on
	 * hardware-reduced ACPI) has LINT0 open, and its exceptions have the vectors they would
	 * send. */
	*pic = (struct pic){ .chips = { { .imr = 0xff }, { .imr = 0xff } } };
	for (unsigned i = 0; i < PORTS; i++) {
		if (ports[i].kind == ELCR)
			pic->chips[ports[i].chip].elcr_mask = ports[i].elcr_mask;
	}
}

void pic_set(struct pic *pic, unsigned chip, const struct kvm_pic_state *state)
{
	struct kvm_pic_state *c = &pic->chips[chip];
	uint8_t elcr_mask = c->elcr_mask;
	*c = *state;
	c->elcr_mask = elcr_mask;
	/* KVM stores the cascade as an input of its own. */
	if (is_first(pic, c)) {
		c->irr &= (uint8_t) ~(1u << CASCADE);
		c->last_irr &= (uint8_t) ~(1u << CASCADE);
	}
}
