mod bytes;
mod division;
