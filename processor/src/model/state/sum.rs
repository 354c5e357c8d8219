/// A sum and what it lost to rounding (Neumaier 1974); the true sum is `sum + residue`.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Sum {
    pub sum: f64,
    pub residue: f64,
}

impl Sum {
    pub fn of(value: f64) -> Sum {
        Sum { sum: value, residue: 0.0 }
    }

    pub fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        self.residue +=
            if value.abs() <= self.sum.abs() { (self.sum - sum) + value } else { (value - sum) + self.sum };
        self.sum = sum;
    }

    pub fn join(&mut self, other: Sum) {
        self.add(other.sum);
        self.residue += other.residue;
    }

    pub fn total(self) -> f64 {
        self.sum + self.residue
    }
}
