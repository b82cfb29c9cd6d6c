// What an upstream says when it refuses: error bodies of every known shape read into one value, and made fit
// to be shown. Pure, never throws; the text comes from strangers and may hold anything.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace gw::adapters {

// An error body taken apart.
struct upstream_words
{
    std::string message;        // unescaped, not yet cleaned; empty: nothing usable was said
    std::string type;           // error_type, error.type, type
    std::string code;           // error.code, code, when it is text
    int status = 0;             // a number in error.code, code, http_status_code; 0: none
    double estimated_time = -1; // seconds; below zero: not told
    bool html = false;          // a web page: its text is nobody's business
    bool flat_list = false;     // the error was a list (the old CPU back end)
};

// Tries, in this order: error.message, error (text or list), message, detail (text, list of {loc,msg},
// object), errors[].message, error_description, plain text. JSON is recognised by its first byte, whatever
// the content type says.
[[nodiscard]] upstream_words read_words(std::string_view body, std::string_view content_type);

// Safe to show: one line of valid UTF-8 without control characters, at most `limit` bytes (cut with an
// ellipsis). Long runs of base64, Python byte strings and Hugging Face tokens become an ellipsis: several
// servers echo the payload.
[[nodiscard]] std::string clean_words(std::string_view text, std::size_t limit = 500);

// Whether the data of an event is an error rather than content; `name` is its `event:` field. Cheap for
// ordinary events.
[[nodiscard]] bool is_error_event(std::string_view name, std::string_view data);

// Media types of an answer; parameters are ignored, case too.
[[nodiscard]] bool is_html(std::string_view content_type);
[[nodiscard]] bool is_event_stream(std::string_view content_type);
[[nodiscard]] bool is_media(std::string_view content_type
); // image/*, audio/*, video/*, application/octet-stream

// ASCII lower case; other bytes stay.
[[nodiscard]] std::string lower_case(std::string_view text);

} // namespace gw::adapters
