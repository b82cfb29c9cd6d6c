// Numbers, and the words true, false and null.
#include "wire/json_scan.hpp"

#include "wire/json_scan_cursor.hpp"

namespace gw::wire {
namespace {

bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

} // namespace

bool json_scanner::scan_literal(cursor& at)
{
    const char* const stop = at.up_to(limits_.plain_bytes + long_raw_);
    while (at.at != stop) {
        if (*at.at != literal_rest_.front()) {
            return unexpected_byte(at.offset(), *at.at);
        }
        ++at.at;
        literal_rest_.remove_prefix(1);
        if (literal_rest_.empty()) {
            end_value(at.offset());
            return true;
        }
    }
    return true;
}

// RFC 8259 section 6. The byte behind a number is not consumed.
bool json_scanner::scan_number(cursor& at)
{
    const char* const stop = at.up_to(limits_.plain_bytes + long_raw_);
    for (; at.at != stop; ++at.at) {
        const char c = *at.at;
        const bool exponent = c == 'e' || c == 'E';
        switch (state_) {
        case state::number_minus:
            if (!is_digit(c)) {
                return unexpected_byte(at.offset(), c);
            }
            state_ = c == '0' ? state::number_zero : state::number_int;
            continue;
        case state::number_int:
            if (is_digit(c)) {
                continue;
            }
            [[fallthrough]];
        case state::number_zero:
            if (c == '.') {
                state_ = state::number_dot;
                continue;
            }
            if (exponent) {
                state_ = state::number_e;
                continue;
            }
            break;
        case state::number_dot:
        case state::number_frac:
            if (is_digit(c)) {
                state_ = state::number_frac;
                continue;
            }
            if (state_ == state::number_dot) {
                return unexpected_byte(at.offset(), c);
            }
            if (exponent) {
                state_ = state::number_e;
                continue;
            }
            break;
        case state::number_e:
            if (c == '+' || c == '-') {
                state_ = state::number_sign;
                continue;
            }
            [[fallthrough]];
        case state::number_sign:
            if (!is_digit(c)) {
                return unexpected_byte(at.offset(), c);
            }
            state_ = state::number_exp;
            continue;
        default: // number_exp
            if (is_digit(c)) {
                continue;
            }
            break;
        }
        end_value(at.offset());
        return true;
    }
    return true;
}

} // namespace gw::wire
